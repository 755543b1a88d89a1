//! A live guest's view of its host: memory, grant table, event channels, xenstore.
//!
//! What a kernel would build frontends on. It knows nothing of any device.
//!
//! Invariant: when a [`Guest`] is dropped or its process dies, its domain is dying.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use abi::DomId;

use super::client::Connection;
use super::{Error, Events, Price, attach};
use crate::grants::Table;
use crate::memory::GuestMemory;

/// A guest attached to its domain.
#[derive(Debug)]
pub struct Guest {
    /// Its own domain.
    pub domid: DomId,
    /// Its memory.
    pub memory: GuestMemory,
    /// Its grant table.
    pub table: Table,
    /// Its event channels.
    pub events: Events,
    /// Its xenstore connection: wire protocol, the guest's own rights, relative paths start at
    /// its home. Does not block.
    pub store: OwnedFd,
}

impl Guest {
    /// Attaches to the host in `dir` as the guest of `domid`. A domain has one guest in its life.
    pub fn attach(dir: &Path, domid: DomId) -> Result<Self, Error> {
        attach::guest(Arc::new(Connection::open(dir)?), domid, Price::FREE)
    }
}
