//! Claims about disk images, and about submissions of any kind.

use super::{
    BLOCK_BYTES, Subject, collect, contents, fill, pool, result, submit, submit_sync, token, waited,
};
use crate::{Outcome, Pool, Sleep, Submission, Verb};

pub(super) fn every_submission_comes_back_once_with_its_lease(subject: &mut dyn Subject) {
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

pub(super) fn what_was_written_is_read_back(subject: &mut dyn Subject) {
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

pub(super) fn only_the_range_of_a_lease_is_touched(subject: &mut dyn Subject) {
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

pub(super) fn a_read_past_the_end_moves_nothing(subject: &mut dyn Subject) {
    let (image, pool) = (subject.image(), pool(1));
    submit(subject, image, Verb::ReadAt, 1 << 30, pool.lease(), 0);
    assert_eq!(result(&collect(subject, 1)[0]), Ok(0));
}

pub(super) fn a_sync_comes_back_without_a_lease(subject: &mut dyn Subject) {
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

pub(super) fn a_range_outside_its_lease_is_refused(subject: &mut dyn Subject) {
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

pub(super) fn a_transfer_without_a_lease_is_refused(subject: &mut dyn Subject) {
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

pub(super) fn a_closed_file_answers_ebadf(subject: &mut dyn Subject) {
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

pub(super) fn closing_twice_is_closing_once(subject: &mut dyn Subject) {
    let (image, pool) = (subject.image(), pool(1));
    subject.reactor().close(image);
    let successor = subject.image();
    subject.reactor().close(image);
    submit(subject, successor, Verb::ReadAt, 0, pool.lease(), 0);
    assert_eq!(result(&collect(subject, 1)[0]), Ok(BLOCK_BYTES));
}

pub(super) fn an_operation_survives_cooling(subject: &mut dyn Subject) {
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

pub(super) fn a_reactor_is_warm_from_its_first_sync_until_it_is_cooled(subject: &mut dyn Subject) {
    let image = subject.image();
    assert!(!subject.reactor().is_warm());
    for _ in 0..2 {
        submit_sync(subject, image);
        assert!(subject.reactor().is_warm());
        collect(subject, 1);
        assert!(subject.reactor().is_warm());
        subject.reactor().cool();
        assert!(!subject.reactor().is_warm());
    }
}
