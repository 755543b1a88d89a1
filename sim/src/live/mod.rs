//! The live form: guests and backends are processes, and one quiet process is the hypervisor.
//!
//! `DIR/host.sock` takes calls (binding, mapping, creating domains) and `DIR/xenstored.sock` speaks
//! the xenstore wire protocol with the control domain's power. Data never passes through the
//! host: notifications and grant copies go through shared memory and one system call.
//!
//! Where it differs from Xen. (1) A sender writes to the receiver's event queues itself, so
//! clients of one simulated host trust each other with their event channels; they still get no
//! further than Xen lets them through rings, grants and xenstore. (2) A grant copy checks the
//! entry and then copies, without pinning it in between. (3) Every backend process is a domain of
//! its own for event channels, while all of them are domain 0 for grants and xenstore.

use std::path::Path;
use std::sync::Arc;

use abi::DomId;
use xen::{Descriptors, Platform};

pub(crate) mod attach;
pub mod client;
pub mod events;
pub mod grants;
pub mod guest;
pub mod host;
mod layout;
mod meter;
mod peers;
mod upcall;
pub(crate) mod wire;

pub use client::{Control, Error};
pub use events::Events;
pub use grants::LiveGrants;
pub use guest::Guest;
pub use meter::Price;
pub use wire::{DomainInfo, NewDomain};

/// The control socket of the host process, in its directory.
pub const HOST_SOCKET: &str = "host.sock";

/// The xenstore socket, in the host's directory: wire protocol, the control domain's power.
pub const STORE_SOCKET: &str = "xenstored.sock";

/// Attaches to the host in `dir` as a backend that serves domain `domid`.
///
/// Blocks for one exchange with the host. The descriptors do not block. Everything that was bound
/// or mapped is undone when the platform is dropped, or the process dies.
pub fn backend(dir: &Path, domid: DomId) -> Result<(Platform, Descriptors), Error> {
    backend_at(dir, domid, Price::FREE)
}

/// As [`backend`], with every hypercall costing `price` on top of what the simulation costs.
pub fn backend_at(
    dir: &Path,
    domid: DomId,
    price: Price,
) -> Result<(Platform, Descriptors), Error> {
    let connection = Arc::new(client::Connection::open(dir)?);
    let attached = attach::backend(connection, domid, price)?;
    let events = attached.events;
    let descriptors = Descriptors {
        events: events
            .descriptor()
            .map_err(Error::os("duplicating the event descriptor"))?,
        store: attached.store,
        client: xenstore::Client::new(),
    };
    let platform = Platform {
        domid: DomId::DOM0,
        grants: Box::new(attached.grants),
        events: Box::new(events),
    };
    Ok((platform, descriptors))
}

#[cfg(test)]
mod tests;
