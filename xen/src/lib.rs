//! The platform as values: what a backend domain gives its backends.
//!
//! [`Platform`] bundles grants, event channels, the xenstore connection and (for device models,
//! later) foreign memory. Two families of implementations exist: real Xen through `/dev/xen/*`
//! ([`linux`]), and the simulated host. Both run [`conformance`]. Nothing here knows what a backend does.
//!
//! Invariant: dropping a value undoes it: no grant stays mapped, no port bound.

#![deny(unsafe_code)]

use std::os::fd::OwnedFd;

use abi::DomId;
use evtchn::EventChannels;

pub mod conformance;
pub mod grants;
pub mod linux;

pub use grants::{Access, CopyOp, Direction, GrantStatus, Grants, MapError, Mapped};

/// The services of one backend domain, for serving one guest.
pub struct Platform {
    /// The domain that this process lives in; grants and ports are offered to it.
    pub domid: DomId,
    /// Grant copy and grant map.
    pub grants: Box<dyn Grants>,
    /// Event channels.
    pub events: Box<dyn EventChannels>,
}

/// The descriptors that a live platform brings along; its owner registers them with the reactor.
#[derive(Debug)]
pub struct Descriptors {
    /// Readable when an event channel is pending; its bytes go to [`EventChannels::pending`].
    pub events: OwnedFd,
    /// A xenstore connection speaking the wire protocol of `io/xs_wire.h`.
    pub store: OwnedFd,
    /// The client for it, which knows how many requests it takes at a time.
    pub client: xenstore::Client,
}
