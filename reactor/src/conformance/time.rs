//! Claims about time, deadlines and sleep.

use super::{MILLISECOND, Subject, collect, pool, submit, token, waited};
use crate::{Outcome, Sleep, Verb};

pub(super) fn deadlines_fire_once_and_in_order(subject: &mut dyn Subject) {
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

pub(super) fn a_deadline_set_again_replaces_the_first(subject: &mut dyn Subject) {
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

pub(super) fn a_cancelled_deadline_does_not_fire(subject: &mut dyn Subject) {
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

pub(super) fn time_moves_only_in_wait(subject: &mut dyn Subject) {
    let (image, pool) = (subject.image(), pool(1));
    let before = subject.reactor().now();
    submit(subject, image, Verb::ReadAt, 0, pool.lease(), 0);
    assert_eq!(subject.reactor().now(), before);
    collect(subject, 1);
    assert!(subject.reactor().now() >= before);
}

pub(super) fn a_wait_that_may_not_sleep_returns_with_nothing(subject: &mut dyn Subject) {
    assert!(waited(subject, Sleep::No).is_empty());
}
