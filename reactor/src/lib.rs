//! The one place where a thread of a VM process sleeps.
//!
//! A thread owns one [`Reactor`]. Devices hand it [`Submission`]s and are handed back
//! [`Completion`]s, told apart by the [`Token`] they chose; what a completion *means* is the
//! device's business and unknown here. Two implementations stand behind the trait:
//! [`live::Uring`], one io_uring, and [`world::World`], virtual time and a list of pending
//! operations that a simulated world completes in the order its seed decides.
//!
//! Invariant: every submission comes back exactly once, as a completion, together with the
//! memory it was lent.
#![deny(unsafe_code)]

use std::ops::Range;

pub mod conformance;
mod deadlines;
pub mod live;
pub mod pages;
pub mod world;

pub use pages::{Lease, Pool};

/// A moment, or a span, in nanoseconds. Live: CLOCK_MONOTONIC. World: virtual time from 0.
pub type Nanos = u64;

/// A file that a reactor knows. Issued by the implementation's own `add`, ended by
/// [`Reactor::close`]; using it afterwards gives a completion with `EBADF`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(pub u32);

/// Who gets a completion, and what it is about. Chosen by the submitter, returned untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// Which device of the process.
    pub owner: u16,
    /// Which layer of the device: 0 is the innermost, decorators count up.
    pub layer: u16,
    /// Which operation of that layer.
    pub tag: u32,
}

/// What a submission does with its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Positioned read of a disk image into the lease. Never waits in the submitting thread: what
    /// the kernel would block on is done by the slow lane.
    ReadAt,
    /// Positioned write of a disk image from the lease. As [`Verb::ReadAt`].
    WriteAt,
    /// Everything written and completed so far becomes durable (`fdatasync`). Always the slow
    /// lane; needs no lease.
    Sync,
    /// Read of a stream or a counter (event channels, xenstore, eventfd). Completes when at least
    /// one byte arrived, or with 0 when the peer is gone.
    Receive,
    /// Write to a stream. May complete short; the submitter sends the rest.
    Send,
    /// Waits until a [`Verb::Receive`] of the stream, or an accept where it listens, would have
    /// something to do, and completes with 0. Takes nothing from the stream and needs no lease.
    Ready,
}

/// One operation, owned by the reactor until it comes back in a [`Completion`].
#[derive(Debug)]
pub struct Submission {
    /// On what.
    pub slot: Slot,
    /// Do what.
    pub verb: Verb,
    /// Where in the file, in bytes; ignored by all but [`Verb::ReadAt`] and [`Verb::WriteAt`].
    pub offset: u64,
    /// The memory lent for it; `None` for [`Verb::Sync`] and [`Verb::Ready`] alone.
    pub lease: Option<Lease>,
    /// Which bytes of the lease.
    pub range: Range<usize>,
    /// Whose it is.
    pub token: Token,
}

impl Submission {
    /// Whether this is an operation at all: `EINVAL` for a range outside its lease, or a lease
    /// missing where one is needed.
    fn check(&self) -> Result<(), i32> {
        let within = match &self.lease {
            Some(lease) => {
                self.range.start <= self.range.end && self.range.end <= lease.slice().len()
            }
            None => matches!(self.verb, Verb::Sync | Verb::Ready),
        };
        if within { Ok(()) } else { Err(libc::EINVAL) }
    }

    /// The completion that gives everything back.
    fn ended(self, result: Result<usize, i32>) -> Completion {
        let outcome = Outcome::Io {
            result,
            lease: self.lease,
        };
        Completion {
            token: self.token,
            outcome,
        }
    }
}

/// What became of a submission or a deadline.
#[derive(Debug)]
pub struct Completion {
    /// The token it was submitted with.
    pub token: Token,
    /// What happened.
    pub outcome: Outcome,
}

/// See [`Completion`].
#[derive(Debug)]
pub enum Outcome {
    /// An operation ended.
    Io {
        /// Bytes moved, or the positive errno. Transfers may be short.
        result: Result<usize, i32>,
        /// The memory that was lent.
        lease: Option<Lease>,
    },
    /// A deadline set with [`Reactor::set_deadline`] has passed; it is no longer set.
    Deadline,
}

/// How long [`Reactor::wait`] may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleep {
    /// Not at all: submit, take what is there, return.
    No,
    /// Until a completion or the earliest deadline arrives; without a deadline, for ever.
    UntilWork,
}

/// The one sleeping place of a thread.
///
/// Why no method fails: an operation that cannot even be started is an operation that failed, and
/// its submitter must answer a guest either way. So errors arrive as completions, with the lease.
pub trait Reactor {
    /// The time, constant between two calls of [`Reactor::wait`].
    fn now(&self) -> Nanos;

    /// Takes an operation. It starts at the next [`Reactor::wait`] at the latest.
    fn submit(&mut self, submission: Submission);

    /// Asks to be told, once, when `at` has passed. A token has one deadline: setting it again
    /// replaces it.
    fn set_deadline(&mut self, token: Token, at: Nanos);

    /// Forgets the deadline of `token`, if it has one.
    fn cancel_deadline(&mut self, token: Token);

    /// Submits what is pending, sleeps as `sleep` allows, and appends what has ended to
    /// `completions`, in order of completion. The only call that sleeps.
    fn wait(&mut self, sleep: Sleep, completions: &mut Vec<Completion>);

    /// Lets go of a file: empties the fixed-file slot, then closes the descriptor, so that its
    /// locks are gone when this returns. Operations on disk images must have come back before; a
    /// [`Verb::Receive`] or [`Verb::Ready`] still waiting comes back with `ECANCELED`.
    fn close(&mut self, slot: Slot);

    /// Gives back what only a busy period needs: idle helper threads of the slow lane. Called
    /// when the last device of the process cools down.
    fn cool(&mut self);

    /// Whether [`Reactor::cool`] would give something back: there is a slow lane, and it was not
    /// told to end since it was last used. A lane in use says so too.
    fn is_warm(&self) -> bool;

    /// System calls made so far, slow lane included.
    fn system_calls(&self) -> u64;
}
