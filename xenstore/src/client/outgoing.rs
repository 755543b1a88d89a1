//! Bytes on their way to the server, with the borders of the messages in them.

use std::collections::VecDeque;

use abi::io::xs_wire::Op;

use crate::wire;

/// A queue of encoded messages.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    /// Bytes left of each message; they sum up to `bytes.len()`.
    lengths: VecDeque<usize>,
}

impl Outgoing {
    pub(super) fn push(&mut self, op: Op, req_id: u32, tx_id: u32, payload: &[u8]) {
        let before = self.bytes.len();
        wire::encode(op, req_id, tx_id, payload, &mut self.bytes);
        self.lengths
            .push_back(self.bytes.len().saturating_sub(before));
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn first(&self) -> &[u8] {
        let len = self.lengths.front().copied().unwrap_or(0);
        self.bytes.get(..len).unwrap_or_default()
    }

    pub(super) fn messages(&self) -> usize {
        self.lengths.len()
    }

    pub(super) fn sent(&mut self, len_bytes: usize) {
        let mut sent = len_bytes.min(self.bytes.len());
        self.bytes.drain(..sent);
        while let Some(first) = self.lengths.front_mut() {
            if *first > sent {
                *first = first.saturating_sub(sent);
                return;
            }
            sent = sent.saturating_sub(*first);
            self.lengths.pop_front();
        }
    }
}
