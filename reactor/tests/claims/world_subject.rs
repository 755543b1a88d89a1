//! A world whose driver ends every operation that can end, in order, on files that are vectors.

use std::collections::BTreeMap;

use reactor::conformance::Subject;
use reactor::world::{OpId, World};
use reactor::{Nanos, Reactor, Slot, Submission, Verb};
use vm_memory::Bytes;

pub(crate) struct Simulated {
    world: World,
    images: BTreeMap<u32, Vec<u8>>,
    peers: BTreeMap<u32, Peer>,
}

#[derive(Default)]
struct Peer {
    arriving: Vec<u8>,
    sent: Vec<u8>,
    gone: bool,
}

impl Simulated {
    pub(crate) fn new() -> Self {
        Self {
            world: World::new(),
            images: BTreeMap::new(),
            peers: BTreeMap::new(),
        }
    }
}

impl Subject for Simulated {
    fn reactor(&mut self) -> &mut dyn Reactor {
        &mut self.world
    }

    fn image(&mut self) -> Slot {
        let slot = self.world.add();
        self.images.insert(slot.0, vec![0; 256 << 10]);
        slot
    }

    fn stream(&mut self) -> Slot {
        let slot = self.world.add();
        self.peers.insert(slot.0, Peer::default());
        slot
    }

    fn arrive(&mut self, stream: Slot, bytes: &[u8]) {
        self.peers
            .get_mut(&stream.0)
            .unwrap()
            .arriving
            .extend_from_slice(bytes);
    }

    fn sent(&mut self, stream: Slot, _len: usize) -> Vec<u8> {
        std::mem::take(&mut self.peers.get_mut(&stream.0).unwrap().sent)
    }

    fn depart(&mut self, stream: Slot) {
        self.peers.get_mut(&stream.0).unwrap().gone = true;
    }

    fn proceed(&mut self) {
        self.world.take_submitted();
        let pending: Vec<OpId> = self.world.pending().map(|(id, _)| id).collect();
        for id in pending {
            let operation = self.world.operation(id).unwrap();
            if let Some(moved) = outcome(operation, &mut self.images, &mut self.peers) {
                assert!(self.world.finish(id, Ok(moved)));
            }
        }
    }

    fn pass(&mut self, nanos: Nanos) {
        self.world.advance_to(self.world.now() + nanos);
    }
}

/// How many bytes an operation moves now, or `None` where it goes on waiting.
fn outcome(
    operation: &Submission,
    images: &mut BTreeMap<u32, Vec<u8>>,
    peers: &mut BTreeMap<u32, Peer>,
) -> Option<usize> {
    let (slot, range) = (operation.slot.0, operation.range.clone());
    let lease = operation.lease.as_ref().map(|lease| lease.slice());
    let offset = usize::try_from(operation.offset).unwrap();
    match operation.verb {
        Verb::Sync => Some(0),
        Verb::ReadAt => {
            let tail = images[&slot].get(offset..).unwrap_or(&[]);
            let moved = tail.len().min(range.len());
            lease?.write_slice(&tail[..moved], range.start).unwrap();
            Some(moved)
        }
        Verb::WriteAt => {
            let target = &mut images.get_mut(&slot).unwrap()[offset..offset + range.len()];
            lease?.read_slice(target, range.start).unwrap();
            Some(range.len())
        }
        Verb::Receive => {
            let peer = peers.get_mut(&slot).unwrap();
            let moved = peer.arriving.len().min(range.len());
            let bytes: Vec<u8> = peer.arriving.drain(..moved).collect();
            lease?.write_slice(&bytes, range.start).unwrap();
            (moved > 0 || peer.gone).then_some(moved)
        }
        Verb::Ready => {
            let peer = &peers[&slot];
            (!peer.arriving.is_empty() || peer.gone).then_some(0)
        }
        Verb::Send => {
            let mut bytes = vec![0; range.len()];
            lease?.read_slice(&mut bytes, range.start).unwrap();
            peers.get_mut(&slot).unwrap().sent.extend_from_slice(&bytes);
            Some(range.len())
        }
    }
}
