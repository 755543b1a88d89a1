//! What the live reactor promises beyond the claims that all reactors share: how many system calls
//! it makes, what it does when its queues are full, and that it lets go of what it closes.

#![expect(
    unsafe_code,
    reason = "record locks and directed signals have no safe interface in std"
)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;

use reactor::live::{Config, Counters, Error, Uring};
use reactor::{
    Completion, Lease, Nanos, Outcome, Pool, Reactor, Sleep, Slot, Submission, Token, Verb,
};

use crate::scratch::scratch;

const BLOCK_BYTES: usize = 4096;
const SECOND: Nanos = 1_000_000_000;

fn uring() -> Uring {
    Uring::new(Config::default()).unwrap()
}

fn pool(count: usize) -> Pool {
    Pool::new(count, BLOCK_BYTES).unwrap()
}

fn direct_image() -> File {
    scratch(&std::env::temp_dir(), libc::O_DIRECT)
}

fn submit(uring: &mut Uring, slot: Slot, verb: Verb, lease: Option<Lease>, tag: u32) {
    let range = 0..lease.as_ref().map_or(0, |lease| lease.slice().len());
    let token = Token {
        owner: 0,
        layer: 0,
        tag,
    };
    uring.submit(Submission {
        slot,
        verb,
        offset: 0,
        lease,
        range,
        token,
    });
}

/// Sends one byte, or adds one to an eventfd.
fn submit_send(uring: &mut Uring, slot: Slot, lease: Option<Lease>, tag: u32) {
    let token = Token {
        owner: 0,
        layer: 0,
        tag,
    };
    let (verb, range) = (Verb::Send, 0..1);
    uring.submit(Submission {
        slot,
        verb,
        offset: 0,
        lease,
        range,
        token,
    });
}

fn collect(uring: &mut Uring, count: usize) -> Vec<Completion> {
    let mut completions = Vec::new();
    while completions.len() < count {
        uring.wait(Sleep::UntilWork, &mut completions);
    }
    assert_eq!(completions.len(), count);
    completions
}

fn wait(uring: &mut Uring, sleep: Sleep) -> usize {
    let mut completions = Vec::new();
    uring.wait(sleep, &mut completions);
    completions.len()
}

fn result(completion: &Completion) -> Result<usize, i32> {
    match &completion.outcome {
        Outcome::Io { result, .. } => *result,
        Outcome::Deadline => panic!("a deadline where an operation was due"),
    }
}

fn stream(uring: &mut Uring) -> (Slot, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (uring.add_stream(OwnedFd::from(ours)).unwrap(), theirs)
}

fn eventfd() -> File {
    // SAFETY: plain values.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    assert!(fd >= 0);
    // SAFETY: the descriptor is new and ours.
    unsafe { File::from_raw_fd(fd) }
}

/// A write lock on the whole file, for its open file description.
fn lock() -> libc::flock {
    let mut lock = MaybeUninit::<libc::flock>::zeroed();
    // SAFETY: zeroed is a valid flock.
    let lock = unsafe { lock.assume_init_mut() };
    lock.l_type = i16::try_from(libc::F_WRLCK).unwrap();
    *lock
}

/// Who stands in the way of a lock through `file`: `F_UNLCK` when nobody does.
fn lock_in_the_way(file: &File) -> i16 {
    let mut lock = lock();
    // SAFETY: the pointer is to a flock of ours.
    let asked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    assert_eq!(asked, 0);
    lock.l_type
}

fn take_lock(file: &File) {
    let lock = lock();
    // SAFETY: the pointer is to a flock of ours.
    let taken = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    assert_eq!(taken, 0);
}

/// Another open file description of the same file.
fn reopened(file: &File) -> File {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::options().read(true).write(true).open(path).unwrap()
}

/// The node lies on a file system in memory; what it stands for may be the slowest of disks.
#[test]
fn a_device_is_not_read_from_the_reactors_own_thread() {
    let mut uring = uring();
    let pool = pool(1);
    let device = uring
        .add_image(File::open("/dev/zero").unwrap().into())
        .unwrap();
    let before = uring.counters().inline_calls;
    submit(&mut uring, device, Verb::ReadAt, pool.lease(), 0);
    assert_eq!(result(&collect(&mut uring, 1)[0]), Ok(BLOCK_BYTES));
    assert_eq!(uring.counters().inline_calls, before);
}

#[test]
fn the_lock_of_a_closed_image_is_gone_when_close_returns() {
    let (mut uring, pool, image) = (uring(), pool(8), direct_image());
    let other = reopened(&image);
    take_lock(&image);
    let slot = uring.add_image(image.into()).unwrap();
    (0..8).for_each(|tag| submit(&mut uring, slot, Verb::ReadAt, pool.lease(), tag));
    collect(&mut uring, 8);
    assert_eq!(
        lock_in_the_way(&other),
        i16::try_from(libc::F_WRLCK).unwrap()
    );
    uring.close(slot);
    assert_eq!(
        lock_in_the_way(&other),
        i16::try_from(libc::F_UNLCK).unwrap()
    );
}

#[test]
fn an_image_closed_too_early_keeps_its_lock_until_the_last_operation_is_back() {
    let (mut uring, image) = (uring(), direct_image());
    let other = reopened(&image);
    take_lock(&image);
    let slot = uring.add_image(image.into()).unwrap();
    submit(&mut uring, slot, Verb::Sync, None, 0);
    uring.close(slot);
    assert_eq!(
        lock_in_the_way(&other),
        i16::try_from(libc::F_WRLCK).unwrap()
    );
    assert_eq!(result(&collect(&mut uring, 1)[0]), Ok(0));
    assert_eq!(
        lock_in_the_way(&other),
        i16::try_from(libc::F_UNLCK).unwrap()
    );
}

#[test]
fn a_closed_stream_is_hung_up_at_once() {
    let mut uring = uring();
    let (slot, mut peer) = stream(&mut uring);
    submit(&mut uring, slot, Verb::Receive, pool(1).lease(), 0);
    wait(&mut uring, Sleep::No);
    uring.close(slot);
    peer.set_nonblocking(true).unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_dropped_reactor_has_let_go_of_every_lease_and_file() {
    let (pool, image) = (pool(3), direct_image());
    let other = reopened(&image);
    take_lock(&image);
    let mut uring = uring();
    let (receiver, mut peer) = stream(&mut uring);
    let slot = uring.add_image(image.into()).unwrap();
    submit(&mut uring, receiver, Verb::Receive, pool.lease(), 0);
    submit(&mut uring, slot, Verb::WriteAt, pool.lease(), 1);
    submit(&mut uring, slot, Verb::ReadAt, pool.lease(), 2);
    submit(&mut uring, slot, Verb::Sync, None, 3);
    drop(uring);
    assert_eq!(pool.free(), 3);
    assert_eq!(
        lock_in_the_way(&other),
        i16::try_from(libc::F_UNLCK).unwrap()
    );
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_wait_is_one_system_call_however_much_it_submits_and_returns() {
    let (mut uring, pool) = (uring(), pool(32));
    let (slot, _peer) = stream(&mut uring);
    (0..32).for_each(|tag| submit_send(&mut uring, slot, pool.lease(), tag));
    let before = uring.system_calls();
    assert_eq!(wait(&mut uring, Sleep::UntilWork), 32);
    assert_eq!(uring.system_calls() - before, 1);
}

#[test]
fn a_wait_for_a_deadline_is_one_system_call() {
    let mut uring = uring();
    uring.set_deadline(
        Token {
            owner: 0,
            layer: 0,
            tag: 0,
        },
        uring.now() + SECOND / 1000,
    );
    let before = uring.system_calls();
    assert_eq!(wait(&mut uring, Sleep::UntilWork), 1);
    assert_eq!(uring.system_calls() - before, 1);
}

#[test]
fn a_wait_with_nothing_to_do_makes_no_system_call() {
    let mut uring = uring();
    let (slot, _peer) = stream(&mut uring);
    submit(&mut uring, slot, Verb::Receive, pool(1).lease(), 0);
    wait(&mut uring, Sleep::No);
    let before = uring.system_calls();
    assert_eq!(wait(&mut uring, Sleep::No), 0);
    assert_eq!(uring.system_calls(), before);
}

#[test]
fn a_full_submission_queue_is_submitted_early_and_counted() {
    let mut uring = Uring::new(Config {
        entries: 4,
        completions: 64,
        files: 4,
    })
    .unwrap();
    let (pool, (slot, _peer)) = (pool(32), stream(&mut uring));
    (0..32).for_each(|tag| submit_send(&mut uring, slot, pool.lease(), tag));
    assert_eq!(
        collect(&mut uring, 32)
            .iter()
            .filter(|ended| result(ended) == Ok(1))
            .count(),
        32
    );
    assert_eq!(uring.counters().early_submits, 7);
}

#[test]
fn more_operations_than_completions_fit_wait_for_room_and_end_in_order() {
    let mut uring = Uring::new(Config {
        entries: 4,
        completions: 4,
        files: 4,
    })
    .unwrap();
    let (pool, (slot, _peer)) = (pool(64), stream(&mut uring));
    (0..64).for_each(|tag| submit_send(&mut uring, slot, pool.lease(), tag));
    let ended = collect(&mut uring, 64);
    assert!(
        ended
            .iter()
            .zip(0..)
            .all(|(ended, tag)| ended.token.tag == tag)
    );
    assert_eq!(uring.counters().overflows, 0);
}

#[test]
fn a_signal_does_not_end_a_sleep() {
    extern "C" fn nothing(_signal: libc::c_int) {}
    let handler: extern "C" fn(libc::c_int) = nothing;
    // SAFETY: the handler does nothing.
    unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
    let mut uring = uring();
    let (slot, mut peer) = stream(&mut uring);
    submit(&mut uring, slot, Verb::Receive, pool(1).lease(), 0);
    // SAFETY: no arguments.
    let sleeper = unsafe { libc::gettid() };
    let process = std::process::id();
    let status = format!("/proc/self/task/{sleeper}/status");
    let signaller = thread::spawn(move || {
        for _ in 0..3 {
            while !fs::read_to_string(&status).unwrap().contains("State:\tS") {
                thread::yield_now();
            }
            // SAFETY: plain values, and the thread lives: it waits for the byte below.
            unsafe { libc::syscall(libc::SYS_tgkill, process, sleeper, libc::SIGUSR1) };
        }
        peer.write_all(b"x").unwrap();
    });
    assert_eq!(wait(&mut uring, Sleep::UntilWork), 1);
    signaller.join().unwrap();
}

#[test]
fn an_eventfd_is_a_stream() {
    let mut uring = uring();
    let mut event = eventfd();
    let slot = uring.add_stream(event.try_clone().unwrap().into()).unwrap();
    submit(&mut uring, slot, Verb::Receive, pool(1).lease(), 0);
    wait(&mut uring, Sleep::No);
    event.write_all(&3_u64.to_ne_bytes()).unwrap();
    assert_eq!(result(&collect(&mut uring, 1)[0]), Ok(8));
}

#[test]
fn a_send_to_a_peer_that_is_gone_fails_and_raises_no_signal() {
    let mut uring = uring();
    let (slot, peer) = stream(&mut uring);
    drop(peer);
    submit_send(&mut uring, slot, pool(1).lease(), 0);
    assert_eq!(result(&collect(&mut uring, 1)[0]), Err(libc::EPIPE));
}

#[test]
fn a_send_waits_for_room() {
    let (mut uring, pool) = (uring(), Pool::new(1, 4 << 20).unwrap());
    let (slot, mut peer) = stream(&mut uring);
    submit(&mut uring, slot, Verb::Send, pool.lease(), 0);
    let first = result(&collect(&mut uring, 1)[0]).unwrap();
    assert!(first < 4 << 20, "a socket takes less than 4 MiB at once");
    submit(&mut uring, slot, Verb::Send, pool.lease(), 1);
    assert_eq!(wait(&mut uring, Sleep::No), 0);
    peer.read_exact(&mut vec![0; first]).unwrap();
    assert!(result(&collect(&mut uring, 1)[0]).unwrap() > 0);
}

#[test]
fn a_verb_that_the_file_does_not_take_is_refused() {
    let (mut uring, pool) = (uring(), pool(2));
    let (stream, _peer) = stream(&mut uring);
    let image = uring.add_image(direct_image().into()).unwrap();
    submit(&mut uring, stream, Verb::ReadAt, pool.lease(), 0);
    submit(&mut uring, image, Verb::Receive, pool.lease(), 1);
    assert!(
        collect(&mut uring, 2)
            .iter()
            .all(|ended| result(ended) == Err(libc::EINVAL))
    );
}

#[test]
fn a_sync_is_done_by_the_slow_lane_and_counted() {
    let mut uring = uring();
    let image = uring.add_image(direct_image().into()).unwrap();
    (0..20).for_each(|tag| submit(&mut uring, image, Verb::Sync, None, tag));
    assert!(
        collect(&mut uring, 20)
            .iter()
            .all(|ended| result(ended) == Ok(0))
    );
    assert_eq!(uring.counters().syncs, 20);
    assert!(uring.counters().slow_calls >= 20);
}

#[test]
fn every_missed_operation_is_counted_by_cause_and_done_nevertheless() {
    let (mut uring, pool) = (uring(), pool(64));
    let image = uring
        .add_cached_image(scratch(&std::env::temp_dir(), 0).into())
        .unwrap();
    (0..64).for_each(|tag| submit(&mut uring, image, Verb::WriteAt, pool.lease(), tag));
    let ended = collect(&mut uring, 64);
    assert!(ended.iter().all(|ended| result(ended) == Ok(BLOCK_BYTES)));
    let Counters {
        missed_would_block,
        missed_unsupported,
        missed_interrupted,
        ..
    } = uring.counters();
    println!("missed: {missed_would_block} would block, {missed_unsupported} unsupported");
    let missed = missed_would_block + missed_unsupported + missed_interrupted;
    assert!(missed <= 64);
    assert!(uring.counters().slow_calls >= missed);
}

#[test]
fn a_full_table_of_files_is_an_error_with_its_remedy() {
    let mut uring = Uring::new(Config {
        files: 1,
        ..Config::default()
    })
    .unwrap();
    let (first, _peer) = stream(&mut uring);
    let refused = uring.add_image(direct_image().into()).unwrap_err();
    assert!(matches!(refused, Error::TableFull { files: 1 }));
    uring.close(first);
    assert!(uring.add_image(direct_image().into()).is_ok());
}
