//! A raw image: sector N of the disk is byte 512 N of the file.
//!
//! It turns operations into submissions, goes on after short transfers and reads errno. It knows
//! no path, no lock and no kernel interface: the file is a slot of the reactor.
//! Invariant: an operation has at most one submission under way.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use reactor::{Completion, Lease, Outcome, Reactor, Slot, Submission, Token, Verb};

use crate::{Disk, DiskError, Done, Geometry, Op, OpKind, Submitted};

/// How often one operation is started again after a short transfer. The kernel splits a request
/// where a device's limits say; an operation is at most a few MiB and a limit at least a page, but
/// storage that keeps coming back short must not keep a guest waiting for ever.
pub const CONTINUATIONS_MAX: u16 = 1024;

/// Operations for which bookkeeping is set aside at the start: a single-page ring.
const FLIGHTS: usize = 32;

/// The engine for raw files and block devices. Layer 0 of its owner; a completion's tag is the
/// operation's id.
#[derive(Debug)]
pub struct Raw {
    slot: Slot,
    geometry: Geometry,
    owner: u16,
    /// Searched from the front: a few dozen entries, without hashing or allocation.
    flights: Vec<Flight>,
}

/// An operation under way.
#[derive(Debug)]
struct Flight {
    id: u32,
    kind: OpKind,
    start_bytes: u64,
    len_bytes: usize,
    moved_bytes: usize,
    continuations: u16,
}

impl Raw {
    /// A disk of the file in `slot`, which [`crate::prepare::prepare`] has judged.
    pub fn new(slot: Slot, geometry: Geometry, owner: u16) -> Self {
        Self {
            slot,
            geometry,
            owner,
            flights: Vec::with_capacity(FLIGHTS),
        }
    }

    fn submission(&self, flight: &Flight, lease: Option<Lease>) -> Submission {
        Submission {
            slot: self.slot,
            verb: match flight.kind {
                OpKind::Read => Verb::ReadAt,
                OpKind::Write => Verb::WriteAt,
                OpKind::Flush => Verb::Sync,
            },
            offset: flight.start_bytes.saturating_add(flight.moved_bytes as u64),
            lease,
            range: flight.moved_bytes..flight.len_bytes,
            token: Token {
                owner: self.owner,
                layer: 0,
                tag: flight.id,
            },
        }
    }
}

impl Flight {
    fn new(op: &Op, start_bytes: u64) -> Self {
        let len_bytes = if op.kind == OpKind::Flush {
            0
        } else {
            op.len_bytes
        };
        Self {
            id: op.id,
            kind: op.kind,
            start_bytes,
            len_bytes,
            moved_bytes: 0,
            continuations: 0,
        }
    }

    /// Notes what a submission moved. `None` says that the rest has to be submitted.
    fn advance(
        &mut self,
        result: Result<usize, i32>,
        sector_bytes: usize,
    ) -> Option<Result<(), DiskError>> {
        let moved = match result {
            Ok(_) if self.kind == OpKind::Flush => return Some(Ok(())),
            Ok(0) => return Some(Err(DiskError::Truncated)),
            Ok(moved) => self.moved_bytes.saturating_add(moved),
            Err(libc::EINTR) => self.moved_bytes,
            Err(errno) => return Some(Err(DiskError::Os(errno))),
        };
        if result.is_ok() && moved >= self.len_bytes {
            return Some(Ok(()));
        }
        // O_DIRECT cannot go on from within a sector; the part of one is done again.
        self.moved_bytes = moved.saturating_sub(moved.checked_rem(sector_bytes).unwrap_or(0));
        self.continuations = self.continuations.saturating_add(1);
        (self.continuations > CONTINUATIONS_MAX).then_some(Err(DiskError::Os(libc::EIO)))
    }
}

impl Disk for Raw {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn submit(&mut self, reactor: &mut dyn Reactor, op: Op) -> Submitted {
        match self.geometry.admit(&op) {
            Err(error) => Submitted::Done(op.done(Err(error))),
            Ok(start_bytes) => {
                let flight = Flight::new(&op, start_bytes);
                reactor.submit(self.submission(&flight, op.lease));
                self.flights.push(flight);
                Submitted::Pending
            }
        }
    }

    fn complete(&mut self, reactor: &mut dyn Reactor, completion: Completion) -> Option<Done> {
        let Outcome::Io { result, lease } = completion.outcome else {
            return None;
        };
        let sector_bytes = self.geometry.sector_size_bytes as usize;
        let id = completion.token.tag;
        let at = self.flights.iter().position(|flight| flight.id == id)?;
        match self.flights.get_mut(at)?.advance(result, sector_bytes) {
            Some(result) => {
                self.flights.swap_remove(at);
                Some(Done { id, lease, result })
            }
            None => {
                reactor.submit(self.submission(self.flights.get(at)?, lease));
                None
            }
        }
    }

    fn outstanding(&self) -> usize {
        self.flights.len()
    }

    fn close(&mut self, reactor: &mut dyn Reactor) {
        debug_assert!(
            self.flights.is_empty(),
            "a disk is closed only when it is quiet"
        );
        reactor.close(self.slot);
    }
}
