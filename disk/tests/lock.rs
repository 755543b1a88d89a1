//! Claims about the lock that keeps an image from being attached twice.

mod support;

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use disk::lock::{self, HeldBy, LockError, Mode};
use support::scratch::{Scratch, open};

/// Long enough for any machine; only a failing test waits for it.
const AGES: Duration = Duration::from_secs(60);

const SHORT: Duration = Duration::from_millis(50);

/// Two open file descriptions of one image.
fn two(scratch: &Scratch) -> (OwnedFd, OwnedFd) {
    let path = scratch.image("a", 1 << 20, b"", 0);
    (open(&path, false), open(&path, false))
}

fn take(fd: &OwnedFd, mode: Mode) -> Result<(), LockError> {
    lock::take(fd.as_fd(), mode)
}

#[test]
fn a_writer_excludes_writers_and_readers() {
    let scratch = Scratch::new();
    let (first, second) = two(&scratch);
    take(&first, Mode::Exclusive).unwrap();
    assert!(matches!(
        take(&second, Mode::Exclusive),
        Err(LockError::Held)
    ));
    assert!(matches!(take(&second, Mode::Shared), Err(LockError::Held)));
}

#[test]
fn readers_share_and_exclude_writers() {
    let scratch = Scratch::new();
    let (first, second) = two(&scratch);
    take(&first, Mode::of(true)).unwrap();
    take(&second, Mode::of(true)).unwrap();
    assert!(matches!(
        take(&second, Mode::of(false)),
        Err(LockError::Held)
    ));
}

#[test]
fn closing_the_last_descriptor_frees_the_lock_and_closing_a_copy_does_not() {
    let scratch = Scratch::new();
    let (first, second) = two(&scratch);
    take(&first, Mode::Exclusive).unwrap();
    let copy = first.try_clone().unwrap();
    drop(first);
    assert!(take(&second, Mode::Exclusive).is_err());
    drop(copy);
    // Another test may be starting a process, which has a copy until it executes.
    lock::wait(second.as_fd(), Mode::Exclusive, AGES).unwrap();
}

#[test]
fn a_writer_needs_a_descriptor_that_can_write() {
    let scratch = Scratch::new();
    let path = scratch.image("a", 4096, b"", 0);
    let reader = open(&path, true);
    assert!(matches!(
        take(&reader, Mode::Exclusive),
        Err(LockError::Os(_))
    ));
}

#[test]
fn the_holder_is_named_in_one_line() {
    let scratch = Scratch::new();
    let (first, second) = two(&scratch);
    take(&first, Mode::Exclusive).unwrap();
    assert!(take(&second, Mode::Exclusive).is_err());
    let line = lock::held_by(second.as_fd(), Mode::Exclusive).to_string();
    let ourselves = format!("image is locked by process {} (", std::process::id());
    assert!(line.starts_with(&ourselves), "{line}");
    assert!(!line.contains('\n'));
}

#[test]
fn a_conflict_costs_no_look_at_other_processes() {
    let scratch = Scratch::new();
    let (first, second) = two(&scratch);
    take(&first, Mode::Exclusive).unwrap();
    let asking = reads();
    let asked = reads();
    assert!(take(&second, Mode::Exclusive).is_err());
    assert_eq!(reads() - asked, asked - asking);
}

#[test]
fn a_process_is_asked_about_alone() {
    let scratch = Scratch::new();
    let (first, second) = two(&scratch);
    let held = |mode| lock::is_held_by(std::process::id(), second.as_fd(), mode);
    assert!(!held(Mode::Exclusive));
    take(&first, Mode::Shared).unwrap();
    assert!(held(Mode::Exclusive));
    assert!(!held(Mode::Shared));
    // Process 1 has no image open, and mostly may not even be looked at.
    assert!(!lock::is_held_by(1, second.as_fd(), Mode::Exclusive));
}

#[test]
fn a_holder_that_nobody_can_see_is_said_to_be_one() {
    let line = HeldBy(None).to_string();
    assert!(
        line.starts_with("image is locked by no process that can be seen here"),
        "{line}"
    );
}

#[test]
fn a_free_lock_is_had_without_waiting() {
    let scratch = Scratch::new();
    let (first, _) = two(&scratch);
    lock::wait(first.as_fd(), Mode::Exclusive, Duration::ZERO).unwrap();
}

#[test]
fn the_wait_ends_at_its_limit() {
    let scratch = Scratch::new();
    let (first, second) = two(&scratch);
    take(&first, Mode::Exclusive).unwrap();
    let started = Instant::now();
    let error = lock::wait(second.as_fd(), Mode::Exclusive, SHORT).unwrap_err();
    assert!(started.elapsed() >= SHORT);
    assert!(matches!(error, LockError::Held), "{error}");
}

#[test]
fn a_limit_of_nothing_ends_too() {
    let scratch = Scratch::new();
    let (first, second) = two(&scratch);
    take(&first, Mode::Exclusive).unwrap();
    assert!(lock::wait(second.as_fd(), Mode::Exclusive, Duration::ZERO).is_err());
}

#[test]
fn the_wait_ends_when_the_holder_lets_go() {
    let scratch = Scratch::new();
    let (first, second) = two(&scratch);
    take(&first, Mode::Exclusive).unwrap();
    let (report, reported) = mpsc::channel();
    let waiter = thread::spawn(move || {
        report.send(thread_id()).unwrap();
        lock::wait(second.as_fd(), Mode::Exclusive, AGES).is_ok()
    });
    let task = reported.recv().unwrap();
    await_lock_sleep(task);
    drop(first);
    assert!(waiter.join().unwrap());
}

#[test]
fn several_threads_wait_at_once_each_to_its_own_limit() {
    let scratch = Scratch::new();
    let path = scratch.image("a", 4096, b"", 0);
    let holder = open(&path, false);
    take(&holder, Mode::Exclusive).unwrap();
    let wait = |n: u32| {
        let fd = open(&path, false);
        thread::spawn(move || lock::wait(fd.as_fd(), Mode::Exclusive, n * SHORT).is_err())
    };
    let waiters: Vec<_> = (1..=4).map(wait).collect();
    assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap()));
}

#[test]
fn another_process_is_waited_for_and_named() {
    let scratch = Scratch::new();
    let (first, second) = two(&scratch);
    take(&first, Mode::Exclusive).unwrap();
    // The child's standard input is a copy of the descriptor: it holds the lock when ours is gone.
    let mut child = Command::new("sleep")
        .arg("60")
        .stdin(Stdio::from(first))
        .spawn()
        .unwrap();
    assert!(take(&second, Mode::Exclusive).is_err());
    let line = lock::held_by(second.as_fd(), Mode::Exclusive).to_string();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(
        line,
        format!("image is locked by process {} (sleep)", child.id())
    );
    lock::wait(second.as_fd(), Mode::Exclusive, AGES).unwrap();
}

/// How many read calls this thread has made, one of them for asking this.
fn reads() -> u64 {
    let mut text = [0; 512];
    let mut file = File::open("/proc/thread-self/io").unwrap();
    let len = file.read(&mut text).unwrap();
    let text = std::str::from_utf8(&text[..len]).unwrap();
    let calls = text.lines().find_map(|line| line.strip_prefix("syscr: "));
    calls.unwrap().parse().unwrap()
}

fn thread_id() -> i32 {
    // SAFETY: gettid has no arguments and cannot fail.
    unsafe { libc::gettid() }
}

/// Returns once a thread of ours sleeps in the kernel, which it can only do for the lock.
fn await_lock_sleep(task: i32) {
    let path = format!("/proc/self/task/{task}/stat");
    let sleeps = || std::fs::read_to_string(&path).unwrap().contains(") S ");
    while !sleeps() {
        thread::yield_now();
    }
}
