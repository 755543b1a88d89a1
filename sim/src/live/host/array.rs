//! One client's event channels as the hypervisor keeps them: which port leads where.
//!
//! It knows its own ports only; [`super::arrays`] keeps the two ends of a channel in step.
//!
//! Invariant: what stands here decides; the words that the client sees follow it and are never
//! read back.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use abi::event_channel::fifo::{NR_CHANNELS, WORDS_PER_PAGE};
use abi::{DomId, Port};
use evtchn::fifo::{Client, Consumer, Queues, Raise};

use super::failure::Failure;
use crate::live::layout::{self, Link, Links, Part};
use crate::live::upcall::Upcall;
use crate::memory::{Region, Window};

/// Ports of a guest: libxl's default for `max_event_channels`, port 0 not counted.
pub(super) const GUEST_PORTS: usize = 1023;

/// Ports of a backend: all that the FIFO ABI has, as for a control domain.
pub(super) const BACKEND_PORTS: usize = NR_CHANNELS - 1;

/// How a port stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PortState {
    /// Not in use.
    #[default]
    Closed,
    /// Waits for this domain to bind to it.
    Unbound(DomId),
    /// Connected to a port of that domain.
    Interdomain(DomId, Link),
}

/// The event channels of one client.
#[derive(Debug)]
pub(super) struct Array {
    /// As whom it binds.
    pub(super) owner: DomId,
    /// The arrays whose descriptors this one's client has been given, and the other way round.
    pub(super) neighbours: BTreeSet<u32>,
    region: Region,
    grants: Window,
    consumer: Consumer<Part>,
    queues: Queues<Part>,
    links: Links,
    upcall: Upcall,
    /// Indexed by port; port 0 is never used.
    ports: Vec<PortState>,
    closed: Vec<Port>,
    limit: usize,
}

impl Array {
    pub(super) fn create(owner: DomId, limit: usize) -> io::Result<Self> {
        let region = Region::create(layout::LEN_BYTES as u64)?;
        let window = layout::map_events(&region)?;
        Ok(Self {
            owner,
            neighbours: BTreeSet::new(),
            consumer: layout::consumer(&window)?,
            queues: layout::queues(&window)?,
            links: Links::new(window),
            grants: layout::map_grants(&region)?,
            region,
            upcall: Upcall::create()?,
            ports: vec![PortState::Closed],
            closed: Vec::new(),
            limit,
        })
    }

    /// Where the client, if it is a guest, has its grant table.
    pub(super) fn grants(&self) -> &Window {
        &self.grants
    }

    /// What a peer needs to send to this client.
    pub(super) fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        Ok(vec![
            self.region.try_clone_fd()?,
            self.upcall.as_fd().try_clone_to_owned()?,
        ])
    }

    pub(super) fn get(&self, port: Port) -> PortState {
        index(port)
            .and_then(|index| self.ports.get(index).copied())
            .unwrap_or_default()
    }

    /// Changes a port, and what its owner sees of it.
    pub(super) fn set(&mut self, port: Port, state: PortState) {
        let Some(slot) = index(port).and_then(|index| self.ports.get_mut(index)) else {
            return;
        };
        *slot = state;
        let link = match state {
            PortState::Interdomain(_, link) => Some(link),
            PortState::Closed | PortState::Unbound(_) => None,
        };
        self.links.store(port, link);
        if state == PortState::Closed {
            self.consumer.mask(port);
            self.queues.clear_pending(port);
            self.closed.push(port);
        }
    }

    /// A closed port that may be used: masked, not pending, and in no queue.
    pub(super) fn allocate(&mut self) -> Result<Port, Failure> {
        let reusable = self
            .closed
            .iter()
            .rposition(|&port| !self.queues.is_linked(port));
        if let Some(at) = reusable {
            return Ok(self.closed.swap_remove(at));
        }
        let fresh = self.ports.len();
        if fresh > self.limit {
            return Err(Failure::new(libc::ENOSPC, "no event channel port left"));
        }
        let port = Port(u32::try_from(fresh).map_err(io::Error::other)?);
        if self.queues.ports() <= port.0 {
            self.add_page(fresh / WORDS_PER_PAGE)?;
        }
        self.ports.push(PortState::Closed);
        Ok(port)
    }

    /// Puts a page of the event array to use, on behalf of its owner.
    fn add_page(&self, page: usize) -> io::Result<()> {
        let page = u32::try_from(page).map_err(io::Error::other)?;
        if !self.consumer.mask_page(page) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.queues.expand(page + 1);
        Ok(())
    }

    /// The ports that are not closed.
    pub(super) fn open_ports(&self) -> impl Iterator<Item = Port> + '_ {
        let open = self
            .ports
            .iter()
            .zip(0..)
            .filter(|(state, _)| **state != PortState::Closed);
        open.map(|(_, port)| Port(port))
    }

    /// Finishes what a dead client was sending to this one.
    pub(super) fn recover(&self, dead: Client) {
        if self.queues.recover(dead) == Raise::Upcall {
            self.upcall.send();
        }
    }
}

fn index(port: Port) -> Option<usize> {
    usize::try_from(port.0).ok()
}
