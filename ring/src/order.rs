//! The index arithmetic and the memory order of one direction of a ring.
//!
//! Requests and responses follow the same algorithm with the roles exchanged: one side publishes
//! slots by advancing a `prod` word, the other consumes them and says through an `event` word
//! which one it wants to be told of. Indices count for ever, modulo 2^32. Knows no slot and no
//! memory but the two words, and is compiled a second time against loom's atomics by `tests/loom`.
//!
//! Invariant: a slot published while the consumer was about to sleep is either seen by
//! [`Consumer::arm`] or notified by [`Producer::publish`]. Each writes its own word, then a full
//! fence, then reads the other's: at least one of them sees what the other wrote.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use super::sync::{AtomicU32, Ordering, fence};

/// Whether the peer asked to be told of what was just published.
#[must_use = "a peer that is not told sleeps on"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    /// Send an event.
    Peer,
    /// The peer is awake and will look again, or nothing was published.
    Nobody,
}

/// The peer broke the protocol; the ring cannot be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corrupt {
    /// The memory does not hold a ring of that many slots, or the number is no power of two.
    Size,
    /// A producer index moved backwards or past what the ring can hold.
    Index {
        /// What the peer published.
        prod: u32,
        /// What had been consumed.
        cons: u32,
    },
}

impl std::fmt::Display for Corrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Size => f.write_str("ring of an impossible size"),
            Self::Index { prod, cons } => {
                write!(f, "ring index {prod} published with {cons} consumed")
            }
        }
    }
}

impl std::error::Error for Corrupt {}

/// The publishing side of a direction.
#[derive(Debug)]
pub(crate) struct Producer {
    /// The next slot to fill.
    pvt: u32,
    /// What the peer has been shown; private, because the peer can overwrite the shared word.
    published: u32,
}

impl Producer {
    pub(crate) fn new(at: u32) -> Self {
        Self {
            pvt: at,
            published: at,
        }
    }

    /// The next slot to fill.
    pub(crate) fn pvt(&self) -> u32 {
        self.pvt
    }

    /// Slots that the peer may have seen.
    pub(crate) fn published(&self) -> u32 {
        self.published
    }

    /// Counts the slot at [`Producer::pvt`] as filled.
    pub(crate) fn advance(&mut self) {
        self.pvt = self.pvt.wrapping_add(1);
    }

    /// Shows the filled slots to the peer and says whether it wants to know
    /// (`RING_PUSH_*_AND_CHECK_NOTIFY`).
    pub(crate) fn publish(&mut self, prod: &AtomicU32, event: &AtomicU32) -> Notify {
        let fresh = self.pvt.wrapping_sub(self.published);
        if fresh == 0 {
            return Notify::Nobody;
        }
        self.published = self.pvt;
        // Release: whoever sees the index sees the slots.
        prod.store(self.pvt, Ordering::Release);
        // The index must be visible before the event word is read, see the invariant above.
        fence(Ordering::SeqCst);
        let event = event.load(Ordering::Relaxed);
        // The peer named a slot: was it among the fresh ones?
        if self.pvt.wrapping_sub(event) < fresh {
            Notify::Peer
        } else {
            Notify::Nobody
        }
    }
}

/// The consuming side of a direction.
#[derive(Debug)]
pub(crate) struct Consumer {
    /// The next slot to take.
    cons: u32,
    /// The last index of the peer that was checked; nothing beyond it is taken.
    seen: u32,
}

impl Consumer {
    pub(crate) fn new(at: u32) -> Self {
        Self { cons: at, seen: at }
    }

    /// The next slot to take.
    pub(crate) fn cons(&self) -> u32 {
        self.cons
    }

    /// Looks at what the peer published: how many slots can be taken. `most` is how many there can
    /// be at the most.
    pub(crate) fn refresh(&mut self, prod: &AtomicU32, most: u32) -> Result<u32, Corrupt> {
        // Acquire: the slots behind the index are read after it.
        let prod = prod.load(Ordering::Acquire);
        let fresh = prod.wrapping_sub(self.cons);
        if fresh > most || fresh < self.seen.wrapping_sub(self.cons) {
            return Err(Corrupt::Index {
                prod,
                cons: self.cons,
            });
        }
        self.seen = prod;
        Ok(fresh)
    }

    /// The next slot, if the last look showed one.
    pub(crate) fn take(&mut self) -> Option<u32> {
        let slot = self.cons;
        if slot == self.seen {
            return None;
        }
        self.cons = slot.wrapping_add(1);
        Some(slot)
    }

    /// Asks to be told of the next slot, then looks once more: whether one is there already
    /// (`RING_FINAL_CHECK_FOR_*`). Only after `false` may the caller sleep.
    pub(crate) fn arm(
        &mut self,
        prod: &AtomicU32,
        event: &AtomicU32,
        most: u32,
    ) -> Result<bool, Corrupt> {
        if self.refresh(prod, most)? > 0 {
            return Ok(true);
        }
        event.store(self.cons.wrapping_add(1), Ordering::Relaxed);
        // The wish must be visible before the index is read again, see the invariant above.
        fence(Ordering::SeqCst);
        Ok(self.refresh(prod, most)? > 0)
    }
}
