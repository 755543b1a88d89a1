//! The data path of a connected device: one bounded turn, and what a completion leads to.
//!
//! ```text
//!   turn:  take <= BATCH slots ──► judge ──┬─ refused ────────────────► answer
//!                                          ├─ flush, read ──► disk
//!                                          └─ write ──► copies
//!          one grant copy for all copies ──┬─ data of writes ──► disk
//!                                          └─ data of reads ──────────► answer
//!          publish ──► notify if asked ──► unmask, arm, look once more ──► rest
//!   completion:  read ──► copies;  write, flush, errors ──────────────► answer
//! ```
//!
//! Knows nothing of the store, and nothing of a ring's past or future: it exists from connect until
//! the last request came back. Its guest-facing half, the wire, may go earlier.
//!
//! Invariant: a request that was taken is in `inflight` until it is answered, exactly once, or
//! until the wire is gone; after a flush has failed no write is acknowledged; data moves only between
//! the disk, a lease and the guest; and nothing here allocates once a device is connected.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use std::io;

use abi::DomId;
use abi::grant_table::gntst;
use abi::io::blkif::{MAX_SEGMENTS, Operation, RawRequest, Response, Status};
use abi::{Port, Sector};
use disk::{Disk, DiskError, Done, Op, OpKind, Submitted};
use evtchn::EventChannels;
use reactor::{Completion, Lease, Pool, Reactor};
use ring::{Corrupt, Notify};
use xen::Grants;

use crate::cooling::Cooling;
use crate::copies::{Copied, Copies};
use crate::inflight::{ENTRIES, Held, Inflight};
use crate::request::{Limits, Refused, Request, answered_as};
use crate::stats::Stats;
use crate::wire::Wire;

/// Most requests taken in one turn: a whole ring, so that one grant copy carries all there is.
pub const BATCH: usize = ENTRIES;

/// Bytes of a lease: the largest request, 11 pages.
pub const LEASE_BYTES: usize = MAX_SEGMENTS * abi::PAGE_SIZE;

/// What a turn is lent: the platform's services, the reactor, the disk, the counters.
pub(crate) struct Hands<'a> {
    pub(crate) grants: &'a mut dyn Grants,
    pub(crate) events: &'a mut dyn EventChannels,
    pub(crate) reactor: &'a mut dyn Reactor,
    pub(crate) disk: &'a mut dyn Disk,
    pub(crate) stats: &'a mut Stats,
}

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "no event tells of the work that a device left for its next turn"]
pub enum Turn {
    /// Call again before sleeping.
    Again,
    /// Nothing left; an event or a completion will bring more.
    Idle,
}

/// See the head of this file.
pub(crate) struct Worker {
    // configuration
    writable: bool,
    // wiring
    wire: Option<Wire>,
    pool: Pool,
    // state
    inflight: Inflight,
    copies: Copies,
    /// Take nothing more: the device is closing.
    stopped: bool,
    /// A flush failed, so that what was acknowledged may be lost. Linux's frontend takes that for a
    /// device without flushes and tells its file system that all is well (`blkif_interrupt`): only
    /// writes that fail stop it. A later flush that succeeds proves nothing, for the kernel reports
    /// an error once; a frontend that connects anew reads from the disk what there is.
    flush_failed: bool,
    cooling: Cooling,
}

impl Worker {
    /// Maps the leases and allocates all there is. `owner` is the device's number in tokens.
    pub(crate) fn new(wire: Wire, domid: DomId, writable: bool, owner: u16) -> io::Result<Self> {
        Ok(Self {
            writable,
            wire: Some(wire),
            pool: Pool::new(ENTRIES, LEASE_BYTES)?,
            inflight: Inflight::default(),
            copies: Copies::new(domid),
            stopped: false,
            flush_failed: false,
            cooling: Cooling::new(owner),
        })
    }

    /// Our port of the event channel, while there is one.
    pub(crate) fn port(&self) -> Option<Port> {
        self.wire.as_ref().map(Wire::port)
    }

    /// Requests that the disk still has.
    pub(crate) fn in_disk(&self) -> usize {
        self.inflight.in_disk()
    }

    /// Requests taken and not yet answered.
    pub(crate) fn in_flight(&self) -> usize {
        self.inflight.used()
    }

    /// Whether no cool-down is due.
    pub(crate) fn is_cool(&self) -> bool {
        self.cooling.is_cool()
    }

    /// Takes no further request; those in flight are still answered.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Takes what stands in the ring, and then nothing more.
    pub(crate) fn take_last(&mut self, hands: &mut Hands<'_>) -> Result<(), Corrupt> {
        let taken = self.take(hands);
        self.stop();
        taken
    }

    /// An event arrived.
    pub(crate) fn kicked(&mut self) {
        if let Some(wire) = &mut self.wire {
            wire.kicked();
        }
    }

    /// Gives up the guest's ring and event channel at once. What is still in the disk moves
    /// between the disk and our leases only, and is not answered any more.
    pub(crate) fn cut(&mut self) -> Option<Wire> {
        self.stopped = true;
        while let Some(copied) = self.copies.pop() {
            self.inflight.release(copied.held);
        }
        self.wire.take()
    }

    /// Forgets the cool-down, because the leases go altogether.
    pub(crate) fn forget_deadline(&mut self, reactor: &mut dyn Reactor) {
        self.cooling.forget(reactor);
    }

    /// One bounded turn.
    pub(crate) fn turn(&mut self, hands: &mut Hands<'_>) -> Result<Turn, Corrupt> {
        self.take(hands)?;
        self.copy(hands);
        self.publish(hands);
        self.rest(hands)
    }

    /// A completion of this device's: of its disk, or of the cool-down.
    pub(crate) fn completion(&mut self, hands: &mut Hands<'_>, completion: Completion) {
        if self.cooling.owns(completion.token) {
            if self.cooling.expired(hands.reactor) {
                self.pool.cool();
            }
        } else if let Some(done) = hands.disk.complete(hands.reactor, completion) {
            self.land(hands, done);
        }
    }

    fn take(&mut self, hands: &mut Hands<'_>) -> Result<(), Corrupt> {
        let Some(wire) = self.wire.as_mut().filter(|_| !self.stopped) else {
            return Ok(());
        };
        if wire.refresh()? == 0 {
            return Ok(());
        }
        hands.stats.batch();
        let limits = Limits {
            geometry: hands.disk.geometry(),
            writable: self.writable,
        };
        for _ in 0..BATCH {
            let Some(raw) = self.wire.as_mut().and_then(Wire::take) else {
                break;
            };
            let judged = Request::parse(&raw, &limits);
            match judged.and_then(|request| self.trusted(request.operation()).map(|()| request)) {
                Ok(request) => self.start(hands, &raw, &request),
                Err(refused) => {
                    hands.stats.refused(refused);
                    self.respond(raw.id, answered_as(&raw), refused.status());
                }
            }
        }
        Ok(())
    }

    /// Whether the disk's word is still taken for what this operation promises.
    fn trusted(&self, operation: Operation) -> Result<(), Refused> {
        match operation {
            Operation::READ => Ok(()),
            _ if self.flush_failed => Err(Refused::FlushFailed),
            _ => Ok(()),
        }
    }

    /// Starts what was judged good. The table has room for a whole ring and the pool a lease for
    /// each; should either be wrong, the guest gets an error instead of a panic.
    fn start(&mut self, hands: &mut Hands<'_>, raw: &RawRequest, request: &Request) {
        let Some(held) = self.inflight.hold(raw.id, request, hands.reactor.now()) else {
            return self.respond(raw.id, request.operation(), Status::ERROR);
        };
        if *request == Request::Flush {
            return self.submit(hands, held, OpKind::Flush, None);
        }
        match (self.pool.lease(), request) {
            (Some(lease), Request::Read(_)) => {
                self.submit(hands, held, OpKind::Read, Some(lease));
            }
            (Some(lease), _) => self.copies.push(held, lease, &self.inflight),
            (None, _) => self.answer(hands, held, Status::ERROR),
        }
    }

    fn submit(&mut self, hands: &mut Hands<'_>, held: Held, kind: OpKind, lease: Option<Lease>) {
        let entry = self.inflight.entry(&held);
        let sector = Sector(entry.sector);
        let len_bytes = usize::try_from(entry.len_bytes).unwrap_or(usize::MAX);
        let id = self.inflight.launch(held);
        let op = Op {
            id,
            kind,
            sector,
            len_bytes,
            lease,
        };
        if let Submitted::Done(done) = hands.disk.submit(hands.reactor, op) {
            self.land(hands, done);
        }
    }

    /// The disk is done with a request. Only a read that succeeded has a way to go: its data
    /// travels with the next grant copy.
    fn land(&mut self, hands: &mut Hands<'_>, done: Done) {
        let Some(held) = self.inflight.land(done.id) else {
            return hands.stats.stray();
        };
        let operation = self.inflight.entry(&held).operation();
        if let Err(error) = done.result {
            self.failed(hands, operation, error);
            return self.answer(hands, held, Status::ERROR);
        }
        if let Err(refused) = self.trusted(operation) {
            hands.stats.refused(refused);
            return self.answer(hands, held, refused.status());
        }
        match done.lease {
            Some(lease) if operation == Operation::READ && self.wire.is_some() => {
                self.copies.push(held, lease, &self.inflight);
            }
            _ => self.answer(hands, held, Status::OKAY),
        }
    }

    fn failed(&mut self, hands: &mut Hands<'_>, operation: Operation, error: DiskError) {
        let now = hands.reactor.now();
        let first = operation == Operation::FLUSH_DISKCACHE && !self.flush_failed;
        if first {
            self.flush_failed = true;
            hands.stats.flush_failed(now, error);
        } else {
            hands.stats.disk_error(now, error);
        }
    }

    /// One grant copy for all that waits; then writes go to the disk and reads are answered.
    fn copy(&mut self, hands: &mut Hands<'_>) {
        self.copies.run(hands.grants, self.pool.arena());
        for _ in 0..ENTRIES {
            let Some(Copied {
                held,
                lease,
                status,
            }) = self.copies.pop()
            else {
                break;
            };
            if status.0 != gntst::OKAY {
                hands.stats.grant_error(hands.reactor.now(), status);
                self.answer(hands, held, Status::ERROR);
            } else if self.inflight.entry(&held).operation() == Operation::WRITE {
                self.submit(hands, held, OpKind::Write, Some(lease));
            } else {
                self.answer(hands, held, Status::OKAY);
            }
        }
    }

    fn answer(&mut self, hands: &mut Hands<'_>, held: Held, status: Status) {
        let entry = self.inflight.release(held);
        if status == Status::OKAY {
            hands.stats.served(&entry, hands.reactor.now());
        }
        self.respond(entry.id, entry.operation(), status);
    }

    fn respond(&mut self, id: u64, operation: Operation, status: Status) {
        if let Some(wire) = &mut self.wire {
            wire.put(Response {
                id,
                operation,
                status,
            });
        }
    }

    /// Shows the guest its answers.
    pub(crate) fn publish(&mut self, hands: &mut Hands<'_>) {
        hands.stats.in_flight(self.in_flight());
        let Some(wire) = &mut self.wire else { return };
        let answered = wire.answered();
        match wire.publish() {
            Notify::Peer => {
                let sent = hands.events.notify(wire.port());
                hands.stats.notified(hands.reactor.now(), sent);
            }
            Notify::Nobody if answered => hands.stats.hushed(),
            Notify::Nobody => {}
        }
        if answered {
            self.cooling.worked(hands.reactor);
        }
    }

    fn rest(&mut self, hands: &mut Hands<'_>) -> Result<Turn, Corrupt> {
        let Some(wire) = self.wire.as_mut().filter(|_| !self.stopped) else {
            return Ok(Turn::Idle);
        };
        let more = wire.rest(hands.events)?;
        Ok(if more { Turn::Again } else { Turn::Idle })
    }
}
