//! What waits to be sent to one connection: replies in order, watch events merged.
//!
//! Invariant: bounded, though the client may never fetch anything. Requests stop being served when
//! [`REPLIES_MAX`] bytes of replies wait; equal events are one event; and beyond [`EVENTS_MAX`]
//! waiting events each watch has at most one more, which names the watched path.

use std::collections::{BTreeSet, VecDeque};

use abi::io::xs_wire::Op;

use crate::{Path, wire};

/// Bytes of replies that wait before a connection's requests have to wait as well.
const REPLIES_MAX: usize = 64 << 10;
/// Waiting events with paths of their own.
const EVENTS_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Output {
    replies: Vec<u8>,
    events: VecDeque<(Path, String)>,
    waiting: BTreeSet<(Path, String)>,
}

impl Output {
    pub(super) fn replies(&mut self) -> &mut Vec<u8> {
        &mut self.replies
    }

    pub(super) fn full(&self) -> bool {
        self.replies.len() >= REPLIES_MAX
    }

    /// Queues an event of a watch on `watched`.
    pub(super) fn event(&mut self, path: Path, token: String, watched: &Path) {
        let path = if self.events.len() < EVENTS_MAX {
            path
        } else {
            watched.clone()
        };
        let event = (path, token);
        if self.waiting.insert(event.clone()) {
            self.events.push_back(event);
        }
    }

    /// Drops the events of a watch that has been taken back.
    pub(super) fn forget(&mut self, watched: &Path, token: &str) {
        let gone = |(path, other): &(Path, String)| other == token && watched.contains(path);
        self.events.retain(|event| !gone(event));
        self.waiting.retain(|event| !gone(event));
    }

    /// Everything, encoded: replies first, so that no event precedes the reply to its WATCH.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.replies);
        self.waiting.clear();
        for (path, token) in self.events.drain(..) {
            let payload = wire::watch_event(path.as_str(), &token);
            wire::encode(Op::WATCH_EVENT, 0, 0, &payload, &mut bytes);
        }
        bytes
    }
}
