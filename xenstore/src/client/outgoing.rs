//! Bytes on their way to the server, with the borders of the messages in them.

use std::collections::VecDeque;

use abi::io::xs_wire::Op;

use crate::wire;

/// What is left of a message; all lengths sum up to the bytes of the queue.
#[derive(Debug)]
struct Message {
    req_id: u32,
    len_bytes: usize,
}

/// A queue of encoded messages.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    messages: VecDeque<Message>,
}

impl Outgoing {
    pub(super) fn push(&mut self, op: Op, req_id: u32, tx_id: u32, payload: &[u8]) {
        let before = self.bytes.len();
        wire::encode(op, req_id, tx_id, payload, &mut self.bytes);
        let len_bytes = self.bytes.len().saturating_sub(before);
        self.messages.push_back(Message { req_id, len_bytes });
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn first(&self) -> &[u8] {
        let len = self.messages.front().map_or(0, |it| it.len_bytes);
        self.bytes.get(..len).unwrap_or_default()
    }

    pub(super) fn messages(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn sent(&mut self, len_bytes: usize) {
        let mut sent = len_bytes.min(self.bytes.len());
        self.bytes.drain(..sent);
        while let Some(first) = self.messages.front_mut() {
            if first.len_bytes > sent {
                first.len_bytes = first.len_bytes.saturating_sub(sent);
                return;
            }
            sent = sent.saturating_sub(first.len_bytes);
            self.messages.pop_front();
        }
    }

    /// Drops what is left of the first message; its request.
    pub(super) fn refuse(&mut self) -> Option<u32> {
        let first = self.messages.pop_front()?;
        self.bytes.drain(..first.len_bytes.min(self.bytes.len()));
        Some(first.req_id)
    }
}
