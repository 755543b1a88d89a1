//! A reactor made of nothing but memory: virtual time, and operations that a driver completes.
//!
//! Code under test holds it as `&mut dyn Reactor`; the driver of a simulated world holds it as
//! [`World`] and decides what each operation did, when, and in which order they end. It knows no
//! file, no kernel and no clock, and draws no random number: everything it does follows from the
//! order of the calls made to it.
//!
//! [`Reactor::wait`] never blocks here, whatever it is asked for: it returns what has ended, and
//! the driver, who alone can make something end, runs next.
//!
//! Invariant: equal calls give equal completions; an operation stays here, with its lease, from
//! [`Reactor::submit`] until [`World::finish`].

use std::collections::BTreeMap;

use crate::deadlines::Deadlines;
use crate::{Completion, Nanos, Reactor, Sleep, Slot, Submission, Token, Verb};

/// An operation that a world has not finished yet. Never reused within a world; the order of the
/// numbers is the order of submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// See the head of this file.
#[derive(Debug, Default)]
pub struct World {
    now: Nanos,
    files: Vec<File>,
    /// Ordered by identity, hence by submission: iterating it is deterministic.
    pending: BTreeMap<OpId, Submission>,
    next: u64,
    /// Submitted and not yet reported by [`World::take_submitted`].
    unseen: Vec<OpId>,
    ended: Vec<Completion>,
    deadlines: Deadlines,
    waits: u64,
    cooled: u64,
    warm: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum File {
    Open,
    Closed,
}

impl World {
    /// An empty world at time 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file. What is behind it is the driver's to remember.
    ///
    /// # Panics
    /// At the 2^32nd file.
    pub fn add(&mut self) -> Slot {
        let slot = u32::try_from(self.files.len()).expect("fewer than 2^32 files in one world");
        self.files.push(File::Open);
        Slot(slot)
    }

    /// What was submitted since the last call, in order. The operations stay here: look at one
    /// with [`World::operation`], end it with [`World::finish`].
    pub fn take_submitted(&mut self) -> Vec<OpId> {
        std::mem::take(&mut self.unseen)
    }

    /// All operations that have not ended, in order of submission.
    pub fn pending(&self) -> impl Iterator<Item = (OpId, &Submission)> {
        self.pending
            .iter()
            .map(|(id, submission)| (*id, submission))
    }

    /// One operation that has not ended. Its lease is read and filled through
    /// [`Lease::slice`](crate::Lease::slice) and the submission's `range`.
    pub fn operation(&self, id: OpId) -> Option<&Submission> {
        self.pending.get(&id)
    }

    /// Ends an operation: its completion is the next that [`Reactor::wait`] returns, after those
    /// finished before. Returns false when there is none of that name, for instance because its
    /// file was closed meanwhile.
    pub fn finish(&mut self, id: OpId, result: Result<usize, i32>) -> bool {
        let Some(submission) = self.pending.remove(&id) else {
            return false;
        };
        self.unseen.retain(|other| *other != id);
        self.ended.push(submission.ended(result));
        true
    }

    /// Moves time forward to `at` and fires what is due; does nothing when `at` has passed.
    pub fn advance_to(&mut self, at: Nanos) {
        self.now = self.now.max(at);
        self.deadlines.fire(self.now, &mut self.ended);
    }

    /// When the next deadline is due, if one is set: as far as a driver with nothing else to do
    /// may move time.
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.deadlines.earliest()
    }

    /// Whether a completion waits to be taken by [`Reactor::wait`].
    pub fn is_ready(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Whether the file is still open.
    pub fn is_open(&self, slot: Slot) -> bool {
        self.file(slot) == Some(&File::Open)
    }

    /// How many files are open: what a leak check counts.
    pub fn open_files(&self) -> usize {
        self.files
            .iter()
            .filter(|file| **file == File::Open)
            .count()
    }

    /// How often [`Reactor::cool`] was called.
    pub fn cooled(&self) -> u64 {
        self.cooled
    }

    fn file(&self, slot: Slot) -> Option<&File> {
        self.files.get(usize::try_from(slot.0).ok()?)
    }

    /// Ends every stream operation on `slot`, in order of submission.
    fn cancel_streams(&mut self, slot: Slot) {
        let streams = |submission: &Submission| {
            let waits = matches!(submission.verb, Verb::Receive | Verb::Send | Verb::Ready);
            submission.slot == slot && waits
        };
        let cancelled: Vec<OpId> = self
            .pending()
            .filter(|(_, pending)| streams(pending))
            .map(|(id, _)| id)
            .collect();
        for id in cancelled {
            self.finish(id, Err(libc::ECANCELED));
        }
    }
}

impl Reactor for World {
    fn now(&self) -> Nanos {
        self.now
    }

    fn submit(&mut self, submission: Submission) {
        let admitted = match self.file(submission.slot) {
            Some(File::Open) => submission.check(),
            _ => Err(libc::EBADF),
        };
        if let Err(errno) = admitted {
            self.ended.push(submission.ended(Err(errno)));
            return;
        }
        // A world has no slow lane. A live reactor has one from the first of these at the latest.
        self.warm |= submission.verb == Verb::Sync;
        let id = OpId(self.next);
        self.next += 1;
        self.pending.insert(id, submission);
        self.unseen.push(id);
    }

    fn set_deadline(&mut self, token: Token, at: Nanos) {
        self.deadlines.set(token, at);
    }

    fn cancel_deadline(&mut self, token: Token) {
        self.deadlines.cancel(token);
    }

    fn wait(&mut self, _sleep: Sleep, completions: &mut Vec<Completion>) {
        self.waits += 1;
        self.deadlines.fire(self.now, &mut self.ended);
        completions.append(&mut self.ended);
    }

    fn close(&mut self, slot: Slot) {
        self.cancel_streams(slot);
        if let Some(file) = usize::try_from(slot.0)
            .ok()
            .and_then(|slot| self.files.get_mut(slot))
        {
            *file = File::Closed;
        }
    }

    fn cool(&mut self) {
        self.cooled += 1;
        self.warm = false;
    }

    fn is_warm(&self) -> bool {
        self.warm
    }

    /// One for each [`Reactor::wait`]: a world makes none, but code that reports costs has a
    /// number that is the same in every run.
    fn system_calls(&self) -> u64 {
        self.waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, Pool};

    fn submit(world: &mut World, slot: Slot, tag: u32) {
        let (owner, layer) = (0, 0);
        let token = Token { owner, layer, tag };
        let (verb, offset, lease, range) = (Verb::Sync, 0, None, 0..0);
        world.submit(Submission {
            slot,
            verb,
            offset,
            lease,
            range,
            token,
        });
    }

    fn waited(world: &mut World) -> Vec<u32> {
        let mut completions = Vec::new();
        world.wait(Sleep::UntilWork, &mut completions);
        completions
            .iter()
            .map(|completion| completion.token.tag)
            .collect()
    }

    #[test]
    fn the_driver_decides_the_order_of_completion() {
        let mut world = World::new();
        let slot = world.add();
        (0..3).for_each(|tag| submit(&mut world, slot, tag));
        let ids = world.take_submitted();
        assert!(waited(&mut world).is_empty());
        [2, 0, 1]
            .iter()
            .for_each(|index| assert!(world.finish(ids[*index], Ok(0))));
        assert_eq!(waited(&mut world), [2, 0, 1]);
        assert!(!world.is_ready());
    }

    #[test]
    fn what_was_submitted_is_reported_once_and_in_order() {
        let mut world = World::new();
        let slot = world.add();
        (0..3).for_each(|tag| submit(&mut world, slot, tag));
        assert_eq!(world.take_submitted(), [OpId(0), OpId(1), OpId(2)]);
        assert_eq!(world.take_submitted(), []);
        assert_eq!(world.pending().count(), 3);
    }

    #[test]
    fn an_operation_ends_once() {
        let mut world = World::new();
        let slot = world.add();
        submit(&mut world, slot, 7);
        assert!(world.finish(OpId(0), Err(libc::EIO)));
        assert!(!world.finish(OpId(0), Ok(0)));
        assert_eq!(waited(&mut world), [7]);
        assert_eq!(world.take_submitted(), []);
    }

    #[test]
    fn an_image_closed_too_early_answers_what_is_under_way_and_nothing_new() {
        let mut world = World::new();
        let slot = world.add();
        submit(&mut world, slot, 1);
        world.close(slot);
        assert!(!world.is_open(slot));
        submit(&mut world, slot, 2);
        assert_eq!(waited(&mut world), [2]);
        assert!(world.finish(OpId(0), Ok(0)));
        assert_eq!(waited(&mut world), [1]);
    }

    #[test]
    fn time_stands_still_unless_the_driver_moves_it() {
        let mut world = World::new();
        let token = Token {
            owner: 0,
            layer: 0,
            tag: 9,
        };
        world.set_deadline(token, 100);
        assert!(waited(&mut world).is_empty());
        assert_eq!(world.next_deadline(), Some(100));
        world.advance_to(99);
        assert!(waited(&mut world).is_empty());
        world.advance_to(100);
        world.advance_to(50);
        assert_eq!(waited(&mut world), [9]);
        assert_eq!(world.now(), 100);
    }

    #[test]
    fn the_driver_sees_and_fills_the_memory_of_an_operation() {
        let (mut world, pool) = (World::new(), Pool::new(1, 4096).unwrap());
        let (slot, token) = (
            world.add(),
            Token {
                owner: 0,
                layer: 0,
                tag: 0,
            },
        );
        let (verb, lease, range) = (Verb::ReadAt, pool.lease(), 0..4096);
        world.submit(Submission {
            slot,
            verb,
            offset: 0,
            lease,
            range,
            token,
        });
        let id = world.take_submitted()[0];
        let memory = world.operation(id).unwrap().lease.as_ref().unwrap().slice();
        memory.copy_from(&[3_u8; 4096]);
        world.finish(id, Ok(4096));
        let mut completions = Vec::new();
        world.wait(Sleep::No, &mut completions);
        let outcome = completions.pop().unwrap().outcome;
        let Outcome::Io {
            lease: Some(lease), ..
        } = outcome
        else {
            panic!("the lease comes back");
        };
        let mut bytes = [0_u8; 4096];
        lease.slice().copy_to(&mut bytes);
        assert_eq!(bytes, [3; 4096]);
    }
}
