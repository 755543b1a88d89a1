//! Every claim of [`xen::conformance`] on the live simulation: host, guest and backend are three
//! processes.

use libtest_mimic::Trial;
use xen::conformance::{BackendSide, EVENTS, Fixture, GRANTS, GuestSide, STORE};

use crate::support::LiveHost;
use crate::support::backend::LocalBackend;
use crate::support::guest::RemoteGuest;

/// One trial for each claim, with a host of its own.
pub(crate) fn trials() -> Vec<Trial> {
    let claims = GRANTS.iter().chain(EVENTS).chain(STORE);
    let trials = claims.map(|claim| {
        Trial::test(format!("conformance::{}", claim.name), || {
            (claim.check)(&Live(LiveHost::start()));
            Ok(())
        })
    });
    trials.collect()
}

struct Live(LiveHost);

impl Fixture for Live {
    fn guest(&self) -> Box<dyn GuestSide> {
        Box::new(RemoteGuest::start(&self.0))
    }

    fn backend(&self, guest: &dyn GuestSide) -> Box<dyn BackendSide> {
        Box::new(LocalBackend::attach(self.0.dir(), guest.domid()))
    }
}
