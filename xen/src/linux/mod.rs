//! The platform of a Linux control or driver domain: the devices below `/dev/xen`.
//!
//! | device | what of it | file |
//! |---|---|---|
//! | evtchn | event channels | [`evtchn::linux`] |
//! | gntdev | grants of others: copy, map | [`gntdev`] |
//! | gntalloc | own pages, granted to others | [`gntalloc`] |
//! | privcmd, hypercall | hypercalls | [`privcmd`] |
//! | xenbus | xenstore | [`xenbus`] |
//!
//! It knows nothing of what a backend does with them.
//!
//! Invariant: as in [`crate`]; whatever the process did not undo, the kernel undoes when the
//! devices are closed, so at its death at the latest.

use abi::DomId;
use abi::linux::{evtchn as device, gntdev as grant_device};
use evtchn::linux::Evtchn;

use crate::{Descriptors, Platform};

mod error;
pub mod gntalloc;
pub mod gntdev;
pub mod privcmd;
mod sys;
pub mod xenbus;

pub use error::Error;
pub use gntdev::Gntdev;
pub use sys::Map;
pub use xenbus::Xenbus;

/// The devices that serving a guest needs.
pub const NEEDED: [&str; 3] = [device::PATH, grant_device::PATH, xenbus::PATH];

/// Whether a device of [`NEEDED`] can be used: opens it, and nothing more.
pub fn probe(path: &'static str) -> Result<(), Error> {
    sys::open(path).map(drop)
}

/// What a process needs that serves domain `domid`.
///
/// Asks xenstore for the own domain, which is one round trip. The event channels are restricted to
/// `domid`, except where that is domain 0, which Linux refuses. The descriptors do not block.
pub fn backend(domid: DomId) -> Result<(Platform, Descriptors), Error> {
    let mut events = Evtchn::open().map_err(|source| Error::open(device::PATH, source))?;
    if domid != DomId::DOM0 {
        events.restrict(domid).map_err(Error::Restrict)?;
    }
    let grants = Gntdev::open()?;
    let mut store = Xenbus::open()?;
    let own = store.own_domid()?;
    let descriptors = Descriptors {
        events: events
            .descriptor()
            .map_err(|source| Error::open(device::PATH, source))?,
        store: store.into(),
        client: xenstore::Client::serial(),
    };
    let platform = Platform {
        domid: own,
        grants: Box::new(grants),
        events: Box::new(events),
    };
    Ok((platform, descriptors))
}
