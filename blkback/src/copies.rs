//! Data that awaits the next grant copy: all requests of a turn travel in one call.
//!
//! Knows which way data goes from the operation alone. Invariant: an operation of the copy stays
//! within its request's lease, and a request fails if any of its segments does.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use std::collections::VecDeque;
use std::ops::Range;

use abi::DomId;
use abi::grant_table::gntst;
use abi::io::blkif::{MAX_SEGMENTS, Operation};
use reactor::Lease;
use vm_memory::VolatileSlice;
use xen::{CopyOp, Direction, GrantStatus, Grants};

use crate::inflight::{ENTRIES, Held, Inflight};

/// Most operations at a time: every request in flight with every segment.
const OPS_MAX: usize = ENTRIES * MAX_SEGMENTS;

/// See the head of this file.
pub(crate) struct Copies {
    domid: DomId,
    ops: Vec<CopyOp>,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    held: Held,
    lease: Lease,
    ops: Range<usize>,
}

/// A request whose data was copied, or was not.
pub(crate) struct Copied {
    pub(crate) held: Held,
    pub(crate) lease: Lease,
    /// The verdict on its first segment that failed, else okay.
    pub(crate) status: GrantStatus,
}

impl Copies {
    /// Allocates all there ever is.
    pub(crate) fn new(domid: DomId) -> Self {
        Self {
            domid,
            ops: Vec::with_capacity(OPS_MAX),
            waiting: VecDeque::with_capacity(ENTRIES),
        }
    }

    /// Adds a request: a write's data comes from the guest, a read's goes there.
    pub(crate) fn push(&mut self, held: Held, lease: Lease, inflight: &Inflight) {
        let entry = inflight.entry(&held);
        let direction = match entry.operation() {
            Operation::WRITE => Direction::FromGuest,
            _ => Direction::ToGuest,
        };
        let first = self.ops.len();
        let mut local = lease.arena_offset();
        for segment in entry.segments() {
            self.ops.push(CopyOp {
                direction,
                domid: self.domid,
                gref: segment.grant(),
                offset: segment.offset_bytes,
                len: segment.len_bytes,
                local,
                // What nobody has judged has not been copied.
                status: GrantStatus(gntst::GENERAL_ERROR),
            });
            local = local.saturating_add(usize::from(segment.len_bytes));
        }
        let ops = first..self.ops.len();
        self.waiting.push_back(Waiting { held, lease, ops });
    }

    /// Copies all that waits, in one call.
    pub(crate) fn run(&mut self, grants: &mut dyn Grants, arena: VolatileSlice<'_>) {
        if !self.ops.is_empty() {
            grants.copy(arena, &mut self.ops);
        }
    }

    /// The next request that was copied, first come first served.
    pub(crate) fn pop(&mut self) -> Option<Copied> {
        let Waiting { held, lease, ops } = self.waiting.pop_front()?;
        let failed = self
            .ops
            .get(ops)
            .unwrap_or_default()
            .iter()
            .map(|op| op.status)
            .find(|status| status.0 != gntst::OKAY);
        let status = failed.unwrap_or(GrantStatus(gntst::OKAY));
        if self.waiting.is_empty() {
            self.ops.clear();
        }
        Some(Copied {
            held,
            lease,
            status,
        })
    }
}
