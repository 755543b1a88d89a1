//! Orders from standard input, a line at a time, through the reactor.
//!
//! Invariant: a line is an order, or ends the guest with a message; nothing is skipped.

use std::os::fd::AsFd as _;

use reactor::live::Uring;
use reactor::{Completion, Lease, Outcome, Pool, Reactor, Slot, Submission, Token, Verb};
use vm_memory::Bytes as _;

use super::wire::Order;
use crate::error::{Doing as _, Failure};

/// The owner number of orders.
pub const OWNER: u16 = 1;

const CHUNK_BYTES: usize = 512;

/// Standard input as the reactor knows it.
#[derive(Debug)]
pub struct Orders {
    slot: Slot,
    pool: Pool,
    text: Vec<u8>,
}

impl Orders {
    /// Starts to listen.
    pub fn listen(reactor: &mut Uring) -> Result<Self, Failure> {
        let what = || "listen for orders".to_owned();
        let input = std::io::stdin().as_fd().try_clone_to_owned().doing(what)?;
        let slot = reactor.add_stream(input).doing(what)?;
        let pool = Pool::new(1, CHUNK_BYTES).doing(what)?;
        let orders = Self {
            slot,
            pool,
            text: Vec::new(),
        };
        orders.receive(reactor, None);
        Ok(orders)
    }

    /// Takes a completion of [`OWNER`]: the orders that it brought, or `None` when there will be no
    /// more.
    pub fn complete(
        &mut self,
        reactor: &mut Uring,
        completion: Completion,
    ) -> Result<Option<Vec<Order>>, Failure> {
        let Outcome::Io { result, lease } = completion.outcome else {
            return Ok(Some(Vec::new()));
        };
        let (Ok(moved @ 1..), Some(lease)) = (result, lease) else {
            return Ok(None);
        };
        let mut bytes = [0; CHUNK_BYTES];
        lease
            .slice()
            .read_slice(&mut bytes[..moved], 0)
            .doing(|| "take an order".into())?;
        self.text.extend_from_slice(&bytes[..moved]);
        self.receive(reactor, Some(lease));
        self.lines().map(Some)
    }

    fn lines(&mut self) -> Result<Vec<Order>, Failure> {
        let mut orders = Vec::new();
        while let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.text.drain(..=end).collect();
            orders.push(serde_json::from_slice(&line).doing(|| "understand an order".into())?);
        }
        Ok(orders)
    }

    fn receive(&self, reactor: &mut Uring, lease: Option<Lease>) {
        let token = Token {
            owner: OWNER,
            layer: 0,
            tag: 0,
        };
        if let Some(lease) = lease.or_else(|| self.pool.lease()) {
            reactor.submit(Submission {
                slot: self.slot,
                verb: Verb::Receive,
                offset: 0,
                lease: Some(lease),
                range: 0..CHUNK_BYTES,
                token,
            });
        }
    }
}
