//! Claims about streams.

use super::{Subject, collect, contents, fill, pool, result, submit, submit_ready, token, waited};
use crate::{Sleep, Submission, Verb};

pub(super) fn a_receive_waits_for_what_arrives(subject: &mut dyn Subject) {
    let (stream, pool) = (subject.stream(), pool(1));
    submit(subject, stream, Verb::Receive, 0, pool.lease(), 5);
    subject.proceed();
    assert!(waited(subject, Sleep::No).is_empty());
    subject.arrive(stream, b"halcyon");
    let ended = collect(subject, 1);
    assert_eq!((result(&ended[0]), ended[0].token.tag), (Ok(7), 5));
    assert_eq!(contents(&ended[0])[..7], *b"halcyon");
}

pub(super) fn a_send_reaches_the_other_end(subject: &mut dyn Subject) {
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

pub(super) fn a_receive_ends_with_nothing_when_the_peer_is_gone(subject: &mut dyn Subject) {
    let (stream, pool) = (subject.stream(), pool(1));
    submit(subject, stream, Verb::Receive, 0, pool.lease(), 0);
    subject.proceed();
    assert!(waited(subject, Sleep::No).is_empty());
    subject.depart(stream);
    assert_eq!(result(&collect(subject, 1)[0]), Ok(0));
}

pub(super) fn closing_cancels_a_waiting_receive(subject: &mut dyn Subject) {
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

pub(super) fn readiness_is_told_and_takes_nothing(subject: &mut dyn Subject) {
    let (stream, pool) = (subject.stream(), pool(1));
    submit_ready(subject, stream, 1);
    subject.proceed();
    assert!(waited(subject, Sleep::No).is_empty());
    subject.arrive(stream, b"abc");
    assert_eq!(result(&collect(subject, 1)[0]), Ok(0));
    submit_ready(subject, stream, 2);
    assert_eq!(result(&collect(subject, 1)[0]), Ok(0));
    submit(subject, stream, Verb::Receive, 0, pool.lease(), 3);
    let ended = collect(subject, 1);
    assert_eq!(contents(&ended[0])[..3], *b"abc");
}

pub(super) fn a_peer_that_is_gone_makes_its_stream_ready(subject: &mut dyn Subject) {
    let stream = subject.stream();
    submit_ready(subject, stream, 1);
    subject.depart(stream);
    assert_eq!(result(&collect(subject, 1)[0]), Ok(0));
}

pub(super) fn closing_cancels_a_wait_for_readiness(subject: &mut dyn Subject) {
    let stream = subject.stream();
    submit_ready(subject, stream, 1);
    subject.proceed();
    assert!(waited(subject, Sleep::No).is_empty());
    subject.reactor().close(stream);
    assert_eq!(result(&collect(subject, 1)[0]), Err(libc::ECANCELED));
}
