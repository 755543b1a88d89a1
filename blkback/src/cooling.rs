//! When a device that has worked gives its memory back: once, a while after its last response.
//!
//! The deadline is not moved with every response, which would cost each one something, but once it
//! has passed: so a busy device wakes once a second for it, and a quiet one exactly once. Knows
//! nothing of what is given back. Invariant: the deadline is set exactly while the device is warm.

use reactor::{Nanos, Reactor, Token};

/// How long after the last response a device is cool. Half of what the design permits, so that a
/// late wake-up does not exceed it.
pub const COOL_DOWN_NS: Nanos = 1_000_000_000;

/// Layer of the device's own tokens; disks count up from 0 and never get there.
const LAYER: u16 = u16::MAX;

/// See the head of this file.
pub(crate) struct Cooling {
    token: Token,
    warm: bool,
    last_response_ns: Nanos,
}

impl Cooling {
    /// Cool; `owner` is the device's number in tokens.
    pub(crate) fn new(owner: u16) -> Self {
        let token = Token {
            owner,
            layer: LAYER,
            tag: 0,
        };
        Self {
            token,
            warm: false,
            last_response_ns: 0,
        }
    }

    /// Whether nothing is due.
    pub(crate) fn is_cool(&self) -> bool {
        !self.warm
    }

    /// Whether a completion is the deadline.
    pub(crate) fn owns(&self, token: Token) -> bool {
        token == self.token
    }

    /// Responses were given.
    pub(crate) fn worked(&mut self, reactor: &mut dyn Reactor) {
        self.last_response_ns = reactor.now();
        if !self.warm {
            self.warm = true;
            reactor.set_deadline(self.token, self.due_ns());
        }
    }

    /// The deadline has passed: whether the device is cool now, or has worked since.
    pub(crate) fn expired(&mut self, reactor: &mut dyn Reactor) -> bool {
        // It may have passed already when it was cancelled.
        if !self.warm {
            return false;
        }
        self.warm = reactor.now() < self.due_ns();
        if self.warm {
            reactor.set_deadline(self.token, self.due_ns());
        }
        !self.warm
    }

    /// There is nothing to give back any more.
    pub(crate) fn forget(&mut self, reactor: &mut dyn Reactor) {
        if self.warm {
            reactor.cancel_deadline(self.token);
            self.warm = false;
        }
    }

    fn due_ns(&self) -> Nanos {
        self.last_response_ns.saturating_add(COOL_DOWN_NS)
    }
}
