//! The backend's half: takes requests, puts responses.
//!
//! Invariant: requests taken and not yet answered, plus those waiting, never exceed the ring; a
//! frontend that claims more is [`Corrupt`].

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use crate::order::{Consumer, Producer};
use crate::sring::Sring;
use crate::{Corrupt, Notify, SharedPages};

/// The backend's half of a ring.
#[derive(Debug)]
pub struct Back<M> {
    sring: Sring<M>,
    requests: Consumer,
    responses: Producer,
}

impl<M: SharedPages> Back<M> {
    /// Attaches to a ring that nobody has served yet: `entries` slots, `stride` bytes apart.
    pub fn new(memory: M, entries: u32, stride: usize) -> Result<Self, Corrupt> {
        Self::attach(memory, entries, stride, 0)
    }

    /// Attaches to a ring whose first `rsp_prod` requests have been answered. The others are still
    /// to be taken, those that a former backend had taken included.
    pub fn attach(memory: M, entries: u32, stride: usize, rsp_prod: u32) -> Result<Self, Corrupt> {
        let sring = Sring::new(memory, entries, stride)?;
        Ok(Self {
            sring,
            requests: Consumer::new(rsp_prod),
            responses: Producer::new(rsp_prod),
        })
    }

    /// Slots of the ring.
    pub fn entries(&self) -> u32 {
        self.sring.entries()
    }

    /// Requests taken and not answered yet.
    pub fn in_flight(&self) -> u32 {
        self.requests.cons().wrapping_sub(self.responses.pvt())
    }

    /// Requests ever taken, modulo 2^32.
    pub fn req_cons(&self) -> u32 {
        self.requests.cons()
    }

    /// Responses ever published, modulo 2^32.
    pub fn rsp_prod(&self) -> u32 {
        self.responses.published()
    }

    /// Looks for requests: how many [`Back::take`] will now give.
    pub fn refresh(&mut self) -> Result<u32, Corrupt> {
        let most = self.room();
        self.requests.refresh(self.sring.header().req_prod(), most)
    }

    /// Copies the next request that the last look showed out of its slot, as many bytes as both
    /// have; `false` when there is none.
    pub fn take(&mut self, slot: &mut [u8]) -> bool {
        let Some(index) = self.requests.take() else {
            return false;
        };
        self.sring.copy_out(index, slot);
        true
    }

    /// Fills the next response slot, which the peer sees with the next [`Back::publish`]. There
    /// must be a request to answer: [`Back::in_flight`] is not 0.
    pub fn put(&mut self, response: &[u8]) {
        debug_assert!(self.in_flight() > 0, "a response to no request");
        self.sring.copy_in(self.responses.pvt(), response);
        self.responses.advance();
    }

    /// Shows all responses put so far to the frontend.
    pub fn publish(&mut self) -> Notify {
        let header = self.sring.header();
        self.responses
            .publish(header.rsp_prod(), header.rsp_event())
    }

    /// Asks to be notified of the next request, then looks once more. `true`: there is work, do
    /// not sleep. `false`: the next request brings an event.
    pub fn arm(&mut self) -> Result<bool, Corrupt> {
        let most = self.room();
        let header = self.sring.header();
        self.requests
            .arm(header.req_prod(), header.req_event(), most)
    }

    /// The memory that the ring lies in.
    pub fn memory(&self) -> &M {
        self.sring.memory()
    }

    /// Gives the memory back.
    pub fn into_memory(self) -> M {
        self.sring.into_memory()
    }

    /// Most requests that can wait while those in flight keep their slots.
    fn room(&self) -> u32 {
        self.sring.entries().saturating_sub(self.in_flight())
    }
}
