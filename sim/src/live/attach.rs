//! Attaching to the host process: one exchange, and everything a client needs is there.
//!
//! It knows nothing of what guests and backends do with it.
//!
//! Invariant: what was attached shares one connection, and ends when the last part is dropped.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use abi::DomId;

use super::client::Connection;
use super::layout;
use super::wire::{Reply, Request};
use super::{Error, Events, Guest, LiveGrants, Price};
use crate::grants::{Entries, Table};
use crate::memory::{GuestMemory, Region};

/// What a backend got.
pub(crate) struct Backend {
    pub(crate) grants: LiveGrants,
    pub(crate) events: Events,
    pub(crate) store: OwnedFd,
}

/// Attaches as a backend for `domid`.
pub(crate) fn backend(
    connection: Arc<Connection>,
    domid: DomId,
    price: Price,
) -> Result<Backend, Error> {
    let request = Request::AttachBackend { domid: domid.0 };
    let (array, [queues, upcall, store, memory, table]) = attach(&connection, request)?;
    let memory = region(memory)?;
    let entries = entries(&region(table)?, &memory)?;
    let events = Events::new(connection.clone(), array, &region(queues)?, upcall, price)?;
    let grants = LiveGrants::new(connection, domid, memory, entries, price);
    Ok(Backend {
        grants,
        events,
        store,
    })
}

/// Attaches as the guest of `domid`.
pub(crate) fn guest(
    connection: Arc<Connection>,
    domid: DomId,
    price: Price,
) -> Result<Guest, Error> {
    let request = Request::AttachGuest { domid: domid.0 };
    let (array, [queues, upcall, store, memory]) = attach(&connection, request)?;
    let queues = region(queues)?;
    let memory = GuestMemory::map(region(memory)?).map_err(Error::os("mapping guest memory"))?;
    let entries = entries(&queues, memory.region())?;
    let events = Events::new(connection, array, &queues, upcall, price)?;
    Ok(Guest {
        domid,
        memory,
        table: Table::new(entries),
        events,
        store,
    })
}

/// The exchange itself; an answer with another number of descriptors is no answer.
fn attach<const N: usize>(
    connection: &Connection,
    request: Request,
) -> Result<(u32, [OwnedFd; N]), Error> {
    let (reply, fds) = connection.call(request)?;
    let Reply::Attached { array } = reply else {
        return Err(Error::Confused);
    };
    Ok((array, fds.try_into().map_err(|_| Error::Confused)?))
}

fn region(fd: OwnedFd) -> Result<Region, Error> {
    Region::from_fd(fd).map_err(Error::os("taking over shared memory"))
}

/// The grant table of a guest with that memory.
fn entries(shared: &Region, memory: &Region) -> Result<Entries, Error> {
    let table = layout::map_grants(shared).map_err(Error::os("mapping shared memory"))?;
    Ok(Entries::new(table, 0, memory.frames()))
}
