//! The frontend's half: puts requests, takes responses.
//!
//! Invariant: a request is put only into a slot whose response was taken; a backend that answers
//! more than was asked is [`Corrupt`].

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

/// The frontend's half of a ring.
#[derive(Debug)]
pub struct Front<M> {
    sring: Sring<M>,
    requests: Producer,
    responses: Consumer,
}

impl<M: SharedPages> Front<M> {
    /// Initialises a ring of `entries` slots, `stride` bytes apart, in memory that no backend uses
    /// yet.
    pub fn new(memory: M, entries: u32, stride: usize) -> Result<Self, Corrupt> {
        let sring = Sring::new(memory, entries, stride)?;
        sring.header().initialise();
        Ok(Self {
            sring,
            requests: Producer::new(0),
            responses: Consumer::new(0),
        })
    }

    /// Slots of the ring.
    pub fn entries(&self) -> u32 {
        self.sring.entries()
    }

    /// Slots that a request can be put into.
    pub fn free(&self) -> u32 {
        self.sring.entries().saturating_sub(self.in_flight())
    }

    /// Requests put whose responses have not been taken.
    pub fn in_flight(&self) -> u32 {
        self.requests.pvt().wrapping_sub(self.responses.cons())
    }

    /// Fills the next request slot, which the peer sees with the next [`Front::publish`]. There
    /// must be one: [`Front::free`] is not 0.
    pub fn put(&mut self, request: &[u8]) {
        debug_assert!(self.free() > 0, "a request without a slot");
        self.sring.copy_in(self.requests.pvt(), request);
        self.requests.advance();
    }

    /// Shows all requests put so far to the backend.
    pub fn publish(&mut self) -> Notify {
        let header = self.sring.header();
        self.requests.publish(header.req_prod(), header.req_event())
    }

    /// Looks for responses: how many [`Front::take`] will now give.
    pub fn refresh(&mut self) -> Result<u32, Corrupt> {
        let most = self.unanswered();
        self.responses.refresh(self.sring.header().rsp_prod(), most)
    }

    /// Copies the next response that the last look showed out of its slot, as many bytes as both
    /// have; `false` when there is none.
    pub fn take(&mut self, slot: &mut [u8]) -> bool {
        let Some(index) = self.responses.take() else {
            return false;
        };
        self.sring.copy_out(index, slot);
        true
    }

    /// Asks to be notified of the next response, then looks once more. `true`: there is work, do
    /// not sleep. `false`: the next response brings an event.
    pub fn arm(&mut self) -> Result<bool, Corrupt> {
        let most = self.unanswered();
        let header = self.sring.header();
        self.responses
            .arm(header.rsp_prod(), header.rsp_event(), most)
    }

    /// The memory that the ring lies in.
    pub fn memory(&self) -> &M {
        self.sring.memory()
    }

    /// Gives the memory back.
    pub fn into_memory(self) -> M {
        self.sring.into_memory()
    }

    /// Most responses that can wait: one for each request that the backend was shown.
    fn unanswered(&self) -> u32 {
        self.requests
            .published()
            .wrapping_sub(self.responses.cons())
    }
}
