//! All event channels of the host: allocation, binding, closing, and the end of a client.
//!
//! It knows clients by the number of their event array and nothing else about them.
//!
//! Invariant: an interdomain port's peer is an interdomain port that leads back to it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;

use abi::{DomId, Port};
use evtchn::fifo::Client;

use super::array::{Array, PortState};
use super::failure::Failure;
use crate::live::layout::Link;

/// The event arrays of all clients.
#[derive(Debug, Default)]
pub(super) struct Arrays {
    all: BTreeMap<u32, Array>,
    last: u32,
}

/// What a new channel brings to the one who bound it.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) port: Port,
    pub(super) link: Link,
    pub(super) fds: Vec<OwnedFd>,
}

impl Arrays {
    /// Adds an array and numbers it. Numbers are never reused: queue locks name their holders so.
    pub(super) fn create(&mut self, owner: DomId, limit: usize) -> Result<u32, Failure> {
        let number = self
            .last
            .checked_add(1)
            .ok_or(Failure::new(libc::ENOSPC, "no numbers left"))?;
        self.all.insert(number, Array::create(owner, limit)?);
        self.last = number;
        Ok(number)
    }

    pub(super) fn get(&self, array: u32) -> Result<&Array, Failure> {
        self.all.get(&array).ok_or_else(gone)
    }

    fn get_mut(&mut self, array: u32) -> Result<&mut Array, Failure> {
        self.all.get_mut(&array).ok_or_else(gone)
    }

    /// EVTCHNOP_alloc_unbound.
    pub(super) fn alloc_unbound(&mut self, array: u32, remote: DomId) -> Result<Port, Failure> {
        let own = self.get_mut(array)?;
        let port = own.allocate()?;
        own.set(port, PortState::Unbound(remote));
        Ok(port)
    }

    /// Whether `port` of `array` waits for `domid`.
    pub(super) fn waits_for(&self, array: u32, port: Port, domid: DomId) -> bool {
        self.all
            .get(&array)
            .is_some_and(|it| it.get(port) == PortState::Unbound(domid))
    }

    /// EVTCHNOP_bind_interdomain: connects a new port of `array` to a port of `remote` that waits
    /// for its domain. The binder raises its own new port itself.
    pub(super) fn bind(
        &mut self,
        array: u32,
        remote: u32,
        remote_port: Port,
    ) -> Result<Bound, Failure> {
        let owner = self.get(array)?.owner;
        if !self.waits_for(remote, remote_port, owner) {
            let why = format_args!("port {remote_port} does not wait for domain {owner}");
            return Err(Failure::new(libc::EINVAL, why));
        }
        let fds = self.get(remote)?.descriptors()?;
        let port = self.get_mut(array)?.allocate()?;
        let there = self.get_mut(remote)?;
        let remote_owner = there.owner;
        there.neighbours.insert(array);
        there.set(
            remote_port,
            PortState::Interdomain(owner, Link { array, port }),
        );
        let link = Link {
            array: remote,
            port: remote_port,
        };
        let own = self.get_mut(array)?;
        own.neighbours.insert(remote);
        own.set(port, PortState::Interdomain(remote_owner, link));
        Ok(Bound { port, link, fds })
    }

    /// Where a port leads, and what is needed to send there.
    pub(super) fn peer(
        &self,
        array: u32,
        port: Port,
    ) -> Result<Option<(Link, Vec<OwnedFd>)>, Failure> {
        match self.get(array)?.get(port) {
            PortState::Closed => Err(Failure::no_port(port.0)),
            PortState::Unbound(_) => Ok(None),
            PortState::Interdomain(_, link) => {
                Ok(Some((link, self.get(link.array)?.descriptors()?)))
            }
        }
    }

    /// EVTCHNOP_close: the peer's port falls back to unbound, so that a successor may bind to it.
    pub(super) fn close(&mut self, array: u32, port: Port) -> Result<(), Failure> {
        let own = self.get_mut(array)?;
        let owner = own.owner;
        let state = own.get(port);
        if state == PortState::Closed {
            return Err(Failure::no_port(port.0));
        }
        own.set(port, PortState::Closed);
        if let PortState::Interdomain(_, link) = state
            && let Some(there) = self.all.get_mut(&link.array)
        {
            there.set(link.port, PortState::Unbound(owner));
        }
        Ok(())
    }

    /// The end of a client: its ports close, and what it was sending when it died is finished.
    pub(super) fn remove(&mut self, array: u32) {
        let Some(own) = self.all.get(&array) else {
            return;
        };
        let ports: Vec<Port> = own.open_ports().collect();
        for port in ports {
            let closed = self.close(array, port);
            debug_assert!(closed.is_ok(), "an open port can be closed");
        }
        let Some(own) = self.all.remove(&array) else {
            return;
        };
        let neighbours = own.neighbours.iter();
        for neighbour in neighbours {
            if let Some(there) = self.all.get_mut(neighbour) {
                there.neighbours.remove(&array);
                if let Some(dead) = NonZeroU32::new(array) {
                    there.recover(Client(dead));
                }
            }
        }
    }
}

fn gone() -> Failure {
    Failure::new(libc::ESRCH, "the client at the other end is gone")
}
