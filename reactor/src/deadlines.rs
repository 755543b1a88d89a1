//! Who wants to be told when: the deadlines of one reactor, earliest first.
//!
//! Knows no clock; the time is an argument. A process has a handful of deadlines, so a sorted
//! vector beats a tree, and unlike a hash map its order is the same in every run.
//!
//! Invariant: a token has at most one deadline, and a deadline that fired is gone.

use crate::{Completion, Nanos, Outcome, Token};

/// The deadlines that are set, sorted by time; equal times keep the order in which they were set.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    sorted: Vec<(Nanos, Token)>,
}

impl Deadlines {
    /// Sets the deadline of `token`, in place of the one it has.
    pub(crate) fn set(&mut self, token: Token, at: Nanos) {
        self.cancel(token);
        let position = self.sorted.partition_point(|(other, _)| *other <= at);
        self.sorted.insert(position, (at, token));
    }

    /// Forgets the deadline of `token`, if there is one.
    pub(crate) fn cancel(&mut self, token: Token) {
        self.sorted.retain(|(_, other)| *other != token);
    }

    /// The time of the earliest one.
    pub(crate) fn earliest(&self) -> Option<Nanos> {
        self.sorted.first().map(|(at, _)| *at)
    }

    /// Moves all that are due at `now` to `completions`, earliest first.
    pub(crate) fn fire(&mut self, now: Nanos, completions: &mut Vec<Completion>) {
        let due = self.sorted.partition_point(|(at, _)| *at <= now);
        completions.extend(self.sorted.drain(..due).map(|(_, token)| Completion {
            token,
            outcome: Outcome::Deadline,
        }));
    }
}
