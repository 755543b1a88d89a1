//! What every reactor does, as functions that the tests of each implementation call.
//!
//! Knows neither implementation: a [`Subject`] brings the reactor and what lies on the other side
//! of its files. A claim panics where it does not hold, so a test is one call.
//!
//! ```
//! use reactor::conformance::{CLAIMS, Subject};
//! fn conforms(subject: impl Fn() -> Box<dyn Subject>) {
//!     CLAIMS.iter().for_each(|(_name, claim)| claim(subject().as_mut()));
//! }
//! ```

mod images;
mod streams;
mod time;

use vm_memory::Bytes;

use crate::{
    Completion, Lease, Nanos, Outcome, Pool, Reactor, Sleep, Slot, Submission, Token, Verb,
};

/// A reactor and the world around it, both fresh.
pub trait Subject {
    /// The reactor under test.
    fn reactor(&mut self) -> &mut dyn Reactor;

    /// Adds an image of 256 KiB of zeros.
    fn image(&mut self) -> Slot;

    /// Adds a stream whose other end the subject holds under the same slot.
    fn stream(&mut self) -> Slot;

    /// The other end of a stream sends.
    fn arrive(&mut self, stream: Slot, bytes: &[u8]);

    /// What was sent to the other end of a stream and not asked for yet, once `len` bytes of it
    /// are there.
    fn sent(&mut self, stream: Slot, len: usize) -> Vec<u8>;

    /// The other end of a stream hangs up.
    fn depart(&mut self, stream: Slot);

    /// Lets everything end that can. A kernel does so by itself.
    fn proceed(&mut self);

    /// Lets so much time go by before the next wait. A clock does so by itself.
    fn pass(&mut self, nanos: Nanos);
}

/// One claim.
pub type Claim = fn(&mut dyn Subject);

/// Pairs each claim with its name.
macro_rules! named {
    ($($module:ident::$claim:ident,)*) => {
        &[$((stringify!($claim), $module::$claim),)*]
    };
}

/// All claims with their names.
pub const CLAIMS: &[(&str, Claim)] = named![
    images::every_submission_comes_back_once_with_its_lease,
    images::what_was_written_is_read_back,
    images::only_the_range_of_a_lease_is_touched,
    images::a_read_past_the_end_moves_nothing,
    images::a_sync_comes_back_without_a_lease,
    images::a_range_outside_its_lease_is_refused,
    images::a_transfer_without_a_lease_is_refused,
    images::a_closed_file_answers_ebadf,
    images::closing_twice_is_closing_once,
    images::an_operation_survives_cooling,
    images::a_reactor_is_warm_from_its_first_sync_until_it_is_cooled,
    streams::a_receive_waits_for_what_arrives,
    streams::a_send_reaches_the_other_end,
    streams::a_receive_ends_with_nothing_when_the_peer_is_gone,
    streams::closing_cancels_a_waiting_receive,
    streams::readiness_is_told_and_takes_nothing,
    streams::a_peer_that_is_gone_makes_its_stream_ready,
    streams::closing_cancels_a_wait_for_readiness,
    time::deadlines_fire_once_and_in_order,
    time::a_deadline_set_again_replaces_the_first,
    time::a_cancelled_deadline_does_not_fire,
    time::time_moves_only_in_wait,
    time::a_wait_that_may_not_sleep_returns_with_nothing,
];

const BLOCK_BYTES: usize = 4096;
const MILLISECOND: Nanos = 1_000_000;
/// No claim needs more waits; a reactor that never gets there fails instead of hanging where it
/// can (a world's waits do not sleep).
const WAITS_MAX: usize = 10_000;

/// A pool of blocks, which every claim can have.
///
/// # Panics
/// Without memory for it.
fn pool(count: usize) -> Pool {
    Pool::new(count, BLOCK_BYTES).expect("memory for a few blocks")
}

fn token(tag: u32) -> Token {
    Token {
        owner: 1,
        layer: 0,
        tag,
    }
}

fn submit(
    subject: &mut dyn Subject,
    slot: Slot,
    verb: Verb,
    offset: u64,
    lease: Option<Lease>,
    tag: u32,
) {
    let (range, token) = (0..BLOCK_BYTES, token(tag));
    subject.reactor().submit(Submission {
        slot,
        verb,
        offset,
        lease,
        range,
        token,
    });
}

fn submit_sync(subject: &mut dyn Subject, slot: Slot) {
    let (verb, lease, range, token) = (Verb::Sync, None, 0..0, token(u32::MAX));
    subject.reactor().submit(Submission {
        slot,
        verb,
        offset: 0,
        lease,
        range,
        token,
    });
}

fn submit_ready(subject: &mut dyn Subject, slot: Slot, tag: u32) {
    let (verb, lease, range, token) = (Verb::Ready, None, 0..0, token(tag));
    subject.reactor().submit(Submission {
        slot,
        verb,
        offset: 0,
        lease,
        range,
        token,
    });
}

fn waited(subject: &mut dyn Subject, sleep: Sleep) -> Vec<Completion> {
    let mut completions = Vec::new();
    subject.reactor().wait(sleep, &mut completions);
    completions
}

/// Waits until `count` completions are there; more than that break the claim.
fn collect(subject: &mut dyn Subject, count: usize) -> Vec<Completion> {
    let mut completions = Vec::new();
    for _ in 0..WAITS_MAX {
        if completions.len() >= count {
            break;
        }
        subject.proceed();
        subject.reactor().wait(Sleep::UntilWork, &mut completions);
    }
    assert_eq!(completions.len(), count, "so many completions are due");
    completions
}

fn result(completion: &Completion) -> Result<usize, i32> {
    match &completion.outcome {
        Outcome::Io { result, .. } => *result,
        Outcome::Deadline => panic!("a deadline where an operation was due: {completion:?}"),
    }
}

fn fill(lease: Option<&Lease>, byte: u8) {
    let slice = lease.expect("a lease is free").slice();
    slice
        .write_slice(&vec![byte; slice.len()], 0)
        .expect("a slice takes its own length");
}

/// All of the lease that came back.
fn contents(completion: &Completion) -> Vec<u8> {
    let Outcome::Io {
        lease: Some(lease), ..
    } = &completion.outcome
    else {
        panic!("no lease came back: {completion:?}");
    };
    let mut bytes = vec![0; lease.slice().len()];
    lease
        .slice()
        .read_slice(&mut bytes, 0)
        .expect("a slice gives its own length");
    bytes
}
