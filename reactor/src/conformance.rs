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

/// All claims of this file with their names.
pub const CLAIMS: &[(&str, Claim)] = &[
    (
        "every_submission_comes_back_once_with_its_lease",
        every_submission_comes_back_once_with_its_lease,
    ),
    (
        "what_was_written_is_read_back",
        what_was_written_is_read_back,
    ),
    (
        "only_the_range_of_a_lease_is_touched",
        only_the_range_of_a_lease_is_touched,
    ),
    (
        "a_read_past_the_end_moves_nothing",
        a_read_past_the_end_moves_nothing,
    ),
    (
        "a_sync_comes_back_without_a_lease",
        a_sync_comes_back_without_a_lease,
    ),
    (
        "a_range_outside_its_lease_is_refused",
        a_range_outside_its_lease_is_refused,
    ),
    (
        "a_transfer_without_a_lease_is_refused",
        a_transfer_without_a_lease_is_refused,
    ),
    ("a_closed_file_answers_ebadf", a_closed_file_answers_ebadf),
    (
        "a_receive_waits_for_what_arrives",
        a_receive_waits_for_what_arrives,
    ),
    ("a_send_reaches_the_other_end", a_send_reaches_the_other_end),
    (
        "a_receive_ends_with_nothing_when_the_peer_is_gone",
        a_receive_ends_with_nothing_when_the_peer_is_gone,
    ),
    (
        "closing_cancels_a_waiting_receive",
        closing_cancels_a_waiting_receive,
    ),
    (
        "closing_twice_is_closing_once",
        closing_twice_is_closing_once,
    ),
    (
        "deadlines_fire_once_and_in_order",
        deadlines_fire_once_and_in_order,
    ),
    (
        "a_deadline_set_again_replaces_the_first",
        a_deadline_set_again_replaces_the_first,
    ),
    (
        "a_cancelled_deadline_does_not_fire",
        a_cancelled_deadline_does_not_fire,
    ),
    ("time_moves_only_in_wait", time_moves_only_in_wait),
    (
        "a_wait_that_may_not_sleep_returns_with_nothing",
        a_wait_that_may_not_sleep_returns_with_nothing,
    ),
    (
        "an_operation_survives_cooling",
        an_operation_survives_cooling,
    ),
];

const BLOCK_BYTES: usize = 4096;
const MILLISECOND: Nanos = 1_000_000;
/// No claim needs more waits; a reactor that never gets there fails instead of hanging where it
/// can (a world's waits do not sleep).
const WAITS_MAX: usize = 10_000;

fn every_submission_comes_back_once_with_its_lease(subject: &mut dyn Subject) {
    let (image, pool) = (subject.image(), pool(32));
    for tag in 0..32 {
        let lease = pool.lease();
        let verb = if tag % 2 == 0 {
            Verb::WriteAt
        } else {
            Verb::ReadAt
        };
        submit(
            subject,
            image,
            verb,
            u64::from(tag) * BLOCK_BYTES as u64,
            lease,
            tag,
        );
    }
    assert_eq!(pool.free(), 0, "a reactor keeps what it was lent");
    let ended = collect(subject, 32);
    let mut tags: Vec<u32> = ended
        .iter()
        .map(|completion| completion.token.tag)
        .collect();
    tags.sort_unstable();
    assert_eq!(tags, (0..32).collect::<Vec<u32>>());
    drop(ended);
    assert_eq!(pool.free(), 32);
    subject.proceed();
    assert!(waited(subject, Sleep::No).is_empty());
}

fn what_was_written_is_read_back(subject: &mut dyn Subject) {
    let (image, pool) = (subject.image(), pool(16));
    for tag in 0..16 {
        let lease = pool.lease();
        fill(lease.as_ref(), u8::try_from(tag + 1).unwrap_or(0));
        submit(
            subject,
            image,
            Verb::WriteAt,
            u64::from(tag) * BLOCK_BYTES as u64,
            lease,
            tag,
        );
    }
    assert!(
        collect(subject, 16)
            .iter()
            .all(|completion| result(completion) == Ok(BLOCK_BYTES))
    );
    for tag in (0..16).rev() {
        let lease = pool.lease();
        fill(lease.as_ref(), 0xee);
        submit(
            subject,
            image,
            Verb::ReadAt,
            u64::from(tag) * BLOCK_BYTES as u64,
            lease,
            tag,
        );
    }
    for completion in collect(subject, 16) {
        let expected = u8::try_from(completion.token.tag + 1).unwrap_or(0);
        assert_eq!(result(&completion), Ok(BLOCK_BYTES));
        assert_eq!(contents(&completion), vec![expected; BLOCK_BYTES]);
    }
}

fn only_the_range_of_a_lease_is_touched(subject: &mut dyn Subject) {
    let image = subject.image();
    let lease = Pool::new(1, 3 * BLOCK_BYTES)
        .ok()
        .and_then(|pool| pool.lease());
    fill(lease.as_ref(), 7);
    let range = BLOCK_BYTES..2 * BLOCK_BYTES;
    let token = token(0);
    let submission = Submission {
        slot: image,
        verb: Verb::ReadAt,
        offset: 0,
        lease,
        range,
        token,
    };
    subject.reactor().submit(submission);
    let read = contents(&collect(subject, 1)[0]);
    assert_eq!(read[..BLOCK_BYTES], [7; BLOCK_BYTES]);
    assert_eq!(read[BLOCK_BYTES..2 * BLOCK_BYTES], [0; BLOCK_BYTES]);
    assert_eq!(read[2 * BLOCK_BYTES..], [7; BLOCK_BYTES]);
}

fn a_read_past_the_end_moves_nothing(subject: &mut dyn Subject) {
    let (image, pool) = (subject.image(), pool(1));
    submit(subject, image, Verb::ReadAt, 1 << 30, pool.lease(), 0);
    assert_eq!(result(&collect(subject, 1)[0]), Ok(0));
}

fn a_sync_comes_back_without_a_lease(subject: &mut dyn Subject) {
    let image = subject.image();
    submit_sync(subject, image);
    let ended = collect(subject, 1);
    assert!(matches!(
        ended[0].outcome,
        Outcome::Io {
            result: Ok(0),
            lease: None
        }
    ));
}

fn a_range_outside_its_lease_is_refused(subject: &mut dyn Subject) {
    let (slot, pool, token) = (subject.image(), pool(1), token(0));
    let (verb, lease, range) = (Verb::ReadAt, pool.lease(), 0..BLOCK_BYTES + 1);
    subject.reactor().submit(Submission {
        slot,
        verb,
        offset: 0,
        lease,
        range,
        token,
    });
    assert_eq!(result(&collect(subject, 1)[0]), Err(libc::EINVAL));
}

fn a_transfer_without_a_lease_is_refused(subject: &mut dyn Subject) {
    let (slot, token) = (subject.image(), token(0));
    let (verb, lease, range) = (Verb::WriteAt, None, 0..0);
    subject.reactor().submit(Submission {
        slot,
        verb,
        offset: 0,
        lease,
        range,
        token,
    });
    assert_eq!(result(&collect(subject, 1)[0]), Err(libc::EINVAL));
}

fn a_closed_file_answers_ebadf(subject: &mut dyn Subject) {
    let (image, pool) = (subject.image(), pool(1));
    subject.reactor().close(image);
    let successor = subject.image();
    assert_ne!(successor, image, "a stale slot must not name another file");
    submit(subject, image, Verb::ReadAt, 0, pool.lease(), 0);
    let ended = collect(subject, 1);
    assert_eq!(result(&ended[0]), Err(libc::EBADF));
    drop(ended);
    assert_eq!(pool.free(), 1);
}

fn a_receive_waits_for_what_arrives(subject: &mut dyn Subject) {
    let (stream, pool) = (subject.stream(), pool(1));
    submit(subject, stream, Verb::Receive, 0, pool.lease(), 5);
    subject.proceed();
    assert!(waited(subject, Sleep::No).is_empty());
    subject.arrive(stream, b"halcyon");
    let ended = collect(subject, 1);
    assert_eq!((result(&ended[0]), ended[0].token.tag), (Ok(7), 5));
    assert_eq!(contents(&ended[0])[..7], *b"halcyon");
}

fn a_send_reaches_the_other_end(subject: &mut dyn Subject) {
    let (slot, pool, token) = (subject.stream(), pool(1), token(0));
    let lease = pool.lease();
    fill(lease.as_ref(), b'x');
    let (verb, range) = (Verb::Send, 8..12);
    subject.reactor().submit(Submission {
        slot,
        verb,
        offset: 0,
        lease,
        range,
        token,
    });
    assert_eq!(result(&collect(subject, 1)[0]), Ok(4));
    assert_eq!(subject.sent(slot, 4), b"xxxx");
}

fn a_receive_ends_with_nothing_when_the_peer_is_gone(subject: &mut dyn Subject) {
    let (stream, pool) = (subject.stream(), pool(1));
    submit(subject, stream, Verb::Receive, 0, pool.lease(), 0);
    subject.proceed();
    assert!(waited(subject, Sleep::No).is_empty());
    subject.depart(stream);
    assert_eq!(result(&collect(subject, 1)[0]), Ok(0));
}

fn closing_cancels_a_waiting_receive(subject: &mut dyn Subject) {
    let (first, second, pool) = (subject.stream(), subject.stream(), pool(3));
    submit(subject, first, Verb::Receive, 0, pool.lease(), 1);
    submit(subject, second, Verb::Receive, 0, pool.lease(), 2);
    subject.proceed();
    assert!(waited(subject, Sleep::No).is_empty());
    // One that waits in the kernel, and one that the reactor has not even started.
    submit(subject, first, Verb::Receive, 0, pool.lease(), 3);
    subject.reactor().close(first);
    let mut ended = collect(subject, 2);
    ended.sort_unstable_by_key(|completion| completion.token.tag);
    assert_eq!([ended[0].token.tag, ended[1].token.tag], [1, 3]);
    assert!(
        ended
            .iter()
            .all(|completion| result(completion) == Err(libc::ECANCELED))
    );
    subject.arrive(second, b"!");
    assert_eq!(result(&collect(subject, 1)[0]), Ok(1));
}

fn closing_twice_is_closing_once(subject: &mut dyn Subject) {
    let (image, pool) = (subject.image(), pool(1));
    subject.reactor().close(image);
    let successor = subject.image();
    subject.reactor().close(image);
    submit(subject, successor, Verb::ReadAt, 0, pool.lease(), 0);
    assert_eq!(result(&collect(subject, 1)[0]), Ok(BLOCK_BYTES));
}

fn deadlines_fire_once_and_in_order(subject: &mut dyn Subject) {
    let start = subject.reactor().now();
    for tag in [3, 1, 2] {
        let at = start + u64::from(tag) * MILLISECOND;
        subject.reactor().set_deadline(token(tag), at);
    }
    subject.pass(10 * MILLISECOND);
    let ended = collect(subject, 3);
    assert_eq!(
        ended
            .iter()
            .map(|fired| fired.token.tag)
            .collect::<Vec<u32>>(),
        [1, 2, 3]
    );
    assert!(
        ended
            .iter()
            .all(|fired| matches!(fired.outcome, Outcome::Deadline))
    );
    assert!(subject.reactor().now() >= start + 3 * MILLISECOND);
    subject.pass(10 * MILLISECOND);
    assert!(waited(subject, Sleep::No).is_empty());
}

fn a_deadline_set_again_replaces_the_first(subject: &mut dyn Subject) {
    let start = subject.reactor().now();
    subject.reactor().set_deadline(token(1), start);
    subject
        .reactor()
        .set_deadline(token(1), start + 2 * MILLISECOND);
    subject
        .reactor()
        .set_deadline(token(2), start + MILLISECOND);
    subject.pass(2 * MILLISECOND);
    let tags: Vec<u32> = collect(subject, 2)
        .iter()
        .map(|fired| fired.token.tag)
        .collect();
    assert_eq!(tags, [2, 1]);
}

fn a_cancelled_deadline_does_not_fire(subject: &mut dyn Subject) {
    let start = subject.reactor().now();
    subject.reactor().set_deadline(token(1), start);
    subject
        .reactor()
        .set_deadline(token(2), start + MILLISECOND);
    subject.reactor().cancel_deadline(token(1));
    subject.reactor().cancel_deadline(token(3));
    subject.pass(MILLISECOND);
    let tags: Vec<u32> = collect(subject, 1)
        .iter()
        .map(|fired| fired.token.tag)
        .collect();
    assert_eq!(tags, [2]);
}

fn time_moves_only_in_wait(subject: &mut dyn Subject) {
    let (image, pool) = (subject.image(), pool(1));
    let before = subject.reactor().now();
    submit(subject, image, Verb::ReadAt, 0, pool.lease(), 0);
    assert_eq!(subject.reactor().now(), before);
    collect(subject, 1);
    assert!(subject.reactor().now() >= before);
}

fn a_wait_that_may_not_sleep_returns_with_nothing(subject: &mut dyn Subject) {
    assert!(waited(subject, Sleep::No).is_empty());
}

fn an_operation_survives_cooling(subject: &mut dyn Subject) {
    let (image, pool) = (subject.image(), pool(1));
    let lease = pool.lease();
    fill(lease.as_ref(), 9);
    submit(subject, image, Verb::WriteAt, 0, lease, 0);
    submit_sync(subject, image);
    subject.reactor().cool();
    assert!(
        collect(subject, 2)
            .iter()
            .all(|completion| result(completion).is_ok())
    );
    subject.reactor().cool();
    submit_sync(subject, image);
    assert_eq!(result(&collect(subject, 1)[0]), Ok(0));
}

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
