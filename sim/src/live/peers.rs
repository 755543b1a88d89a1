//! Where a client's own ports lead: the queues and the upcall of each peer, mapped once.
//!
//! It does not know who the peers are, nor how the host was asked for them.
//!
//! Invariant: finding a known peer allocates nothing; a peer is unmapped when no port leads to it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use abi::Port;
use evtchn::fifo::Queues;

use super::layout::{self, Link, Part};
use super::upcall::Upcall;
use crate::memory::Region;

/// Another client, as far as sending to it goes.
#[derive(Debug)]
pub(super) struct Peer {
    array: u32,
    pub(super) queues: Queues<Part>,
    pub(super) upcall: Upcall,
}

/// The ports of one client, indexed by number; grows when a port is bound.
#[derive(Debug, Default)]
pub(super) struct Peers {
    ports: Vec<Option<OpenPort>>,
}

/// A port that is not closed, with the link it had when its peer was last looked up.
#[derive(Debug, Default)]
struct OpenPort {
    peer: Option<(u64, Arc<Peer>)>,
}

impl Peers {
    /// Notes a new port.
    pub(super) fn open(&mut self, port: Port) {
        let index = index(port);
        if self.ports.len() <= index {
            self.ports.resize_with(index + 1, || None);
        }
        self.ports[index] = Some(OpenPort::default());
    }

    /// Forgets a port.
    pub(super) fn close(&mut self, port: Port) {
        if let Some(slot) = self.ports.get_mut(index(port)) {
            *slot = None;
        }
    }

    /// Whether a port is ours.
    pub(super) fn is_open(&self, port: Port) -> bool {
        self.get(port).is_some()
    }

    /// The peer that `port` leads to, if `link` is what we know of it.
    pub(super) fn known(&self, port: Port, link: u64) -> Option<Arc<Peer>> {
        let (known, peer) = self.get(port)?.peer.as_ref()?;
        (*known == link).then(|| peer.clone())
    }

    /// Remembers what the host said of a port's peer: its link, and the descriptors to reach it.
    pub(super) fn learn(
        &mut self,
        port: Port,
        link: u64,
        fds: Vec<OwnedFd>,
    ) -> io::Result<Option<Arc<Peer>>> {
        let Some(to) = Link::decode(link) else {
            return Ok(None);
        };
        let Ok([shared, upcall]) = <[OwnedFd; 2]>::try_from(fds) else {
            return Ok(None);
        };
        let peer = match self.same_array(to.array) {
            Some(peer) => peer,
            None => Arc::new(Peer::new(to.array, shared, upcall)?),
        };
        if let Some(Some(open)) = self.ports.get_mut(index(port)) {
            open.peer = Some((link, peer.clone()));
        }
        Ok(Some(peer))
    }

    fn same_array(&self, array: u32) -> Option<Arc<Peer>> {
        let known = self
            .ports
            .iter()
            .flatten()
            .filter_map(|open| open.peer.as_ref());
        known
            .map(|(_, peer)| peer)
            .find(|peer| peer.array == array)
            .cloned()
    }

    fn get(&self, port: Port) -> Option<&OpenPort> {
        self.ports.get(index(port))?.as_ref()
    }
}

impl Peer {
    fn new(array: u32, shared: OwnedFd, upcall: OwnedFd) -> io::Result<Self> {
        let window = layout::map_queues(&Region::from_fd(shared)?)?;
        Ok(Self {
            array,
            queues: layout::queues(&window)?,
            upcall: Upcall::from(upcall),
        })
    }
}

/// A port as an index; one that no array has, where it cannot be an index.
fn index(port: Port) -> usize {
    usize::try_from(port.0).unwrap_or(usize::MAX)
}
