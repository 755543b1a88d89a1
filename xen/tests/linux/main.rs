//! `xen::linux` in a control domain: what every platform does, and what is Linux's own.
//!
//! One process is both sides: domain 0 lends pages to itself and binds to its own ports, which
//! Xen lets it. Where the devices below `/dev/xen` are not there, or not for this user, every claim
//! counts as ignored, and its kind says why.

mod loopback;
mod own;

use libtest_mimic::{Arguments, Trial};
use xen::conformance::{Claim, EVENTS, GRANTS, STORE};

use loopback::Loopback;

fn main() {
    let mut arguments = Arguments::from_args();
    // The entry of a grant that has ended would be another claim's at once.
    arguments.test_threads = Some(1);
    let missing = loopback::missing();
    let shared = [GRANTS, EVENTS, STORE].concat();
    let mut trials: Vec<Trial> = shared.iter().map(conformance).collect();
    trials.extend(own::trials());
    let trials = trials.into_iter().map(|trial| match &missing {
        Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
        None => trial,
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn conformance(claim: &Claim) -> Trial {
    let check = claim.check;
    Trial::test(format!("conformance::{}", claim.name), move || {
        check(&Loopback);
        Ok(())
    })
}
