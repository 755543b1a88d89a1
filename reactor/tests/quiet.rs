//! How quiet a process with a reactor is, measured from /proc and not from our own counters: each
//! test starts this binary again, and looks at the tasks of that process.
//!
//! The child works on every sort of file in ways that would make io_uring start worker threads,
//! were they done carelessly: writes into holes, fsync, tmpfs, reads that wait.

#[path = "claims/scratch.rs"]
mod scratch;

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use reactor::live::{Config, Uring};
use reactor::{Completion, Outcome, Pool, Reactor, Sleep, Slot, Submission, Token, Verb};

/// Set in the child.
const CHILD: &str = "REACTOR_QUIET_CHILD";
const BLOCK_BYTES: usize = 4096;
const BLOCKS: u32 = 32;
/// How long a sleeping process is watched.
const WATCH: Duration = Duration::from_secs(2);
/// How often a child looks for the end of threads that were told to end.
const LOOKS_MAX: usize = 1_000_000;

fn main() -> ExitCode {
    if env::var_os(CHILD).is_some() {
        child();
        return ExitCode::SUCCESS;
    }
    let trials = vec![
        Trial::test(
            "a_load_starts_no_kernel_worker_and_cooling_leaves_one_task",
            one_task,
        ),
        Trial::test(
            "a_sleeping_reactor_switches_no_context_and_wakes_for_work",
            no_switches,
        ),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Works, cools down, says so, sleeps until a byte arrives on stdin, works again.
fn child() {
    let mut uring = Uring::new(Config::default()).unwrap();
    let pool = Pool::new(BLOCKS as usize, BLOCK_BYTES).unwrap();
    load(&mut uring, &pool);
    uring.cool();
    pool.cool();
    let left = (0..LOOKS_MAX).map(|_| tasks(Path::new("/proc/self")).len());
    assert!(
        left.take_while(|count| *count > 1).count() < LOOKS_MAX,
        "helpers are gone"
    );
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let stdin = uring.add_stream(stdin).unwrap();
    submit(&mut uring, &pool, stdin, Verb::Receive, 0);
    println!("{:?}", uring.counters());
    println!("ready");
    collect(&mut uring, 1);
    load(&mut uring, &pool);
}

fn load(uring: &mut Uring, pool: &Pool) {
    let temporary = env::temp_dir();
    let images = [
        uring
            .add_image(scratch::scratch(&temporary, libc::O_DIRECT).into())
            .unwrap(),
        uring
            .add_cached_image(scratch::scratch(&temporary, 0).into())
            .unwrap(),
        uring
            .add_image(scratch::scratch(Path::new("/dev/shm"), 0).into())
            .unwrap(),
    ];
    for image in images {
        for verb in [Verb::WriteAt, Verb::WriteAt, Verb::ReadAt] {
            (0..BLOCKS).for_each(|block| submit(uring, pool, image, verb, block));
            (0..4).for_each(|tag| submit(uring, pool, image, Verb::Sync, tag));
            assert!(
                collect(uring, BLOCKS as usize + 4)
                    .iter()
                    .all(moved_or_synced)
            );
            assert_no_kernel_worker();
        }
        uring.close(image);
    }
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let stream = uring.add_stream(OwnedFd::from(ours)).unwrap();
    submit(uring, pool, stream, Verb::Receive, 0);
    uring.wait(Sleep::No, &mut Vec::new());
    theirs.write_all(b"x").unwrap();
    collect(uring, 1);
    uring.close(stream);
    assert_no_kernel_worker();
}

fn submit(uring: &mut Uring, pool: &Pool, slot: Slot, verb: Verb, block: u32) {
    let lease = pool.lease().filter(|_| verb != Verb::Sync);
    let range = 0..lease.as_ref().map_or(0, |_| BLOCK_BYTES);
    let offset = u64::from(block) * BLOCK_BYTES as u64;
    let token = Token {
        owner: 0,
        layer: 0,
        tag: block,
    };
    uring.submit(Submission {
        slot,
        verb,
        offset,
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
    completions
}

fn moved_or_synced(completion: &Completion) -> bool {
    matches!(
        completion.outcome,
        Outcome::Io {
            result: Ok(0 | BLOCK_BYTES),
            ..
        }
    )
}

/// The kernel names its workers iou-wrk-PID, and they stay for five seconds at least.
fn assert_no_kernel_worker() {
    for task in tasks(Path::new("/proc/self")) {
        let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
        assert!(!name.starts_with("iou-"), "the kernel started {name}");
    }
}

fn tasks(process: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(process.join("task")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// A child that has worked, cooled down and is asleep, and its /proc directory.
fn sleeping_child() -> (Child, PathBuf) {
    let mut child = Command::new(env::current_exe().unwrap())
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines
        .map_while(Result::ok)
        .inspect(|line| println!("{line}"));
    assert!(
        ready.into_iter().any(|line| line == "ready"),
        "the child gets to its sleep"
    );
    let process = PathBuf::from(format!("/proc/{}", child.id()));
    while !fs::read_to_string(process.join("status"))
        .unwrap()
        .contains("State:\tS")
    {
        thread::yield_now();
    }
    (child, process)
}

/// Wakes a child, which fails if anything is not as it should be.
fn finish(mut child: Child) -> Result<(), Failed> {
    child.stdin.take().unwrap().write_all(b"x")?;
    let status = child.wait()?;
    status
        .success()
        .then_some(())
        .ok_or_else(|| format!("the child ended with {status}").into())
}

/// The lines of all tasks' status files that count context switches.
fn switches(process: &Path) -> Vec<String> {
    let statuses = tasks(process)
        .into_iter()
        .map(|task| fs::read_to_string(task.join("status")));
    let lines = statuses.flat_map(|status| {
        let status = status.unwrap();
        status
            .lines()
            .filter(|line| line.contains("ctxt_switches"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    lines.collect()
}

fn one_task() -> Result<(), Failed> {
    let (child, process) = sleeping_child();
    assert_eq!(tasks(&process).len(), 1);
    finish(child)
}

fn no_switches() -> Result<(), Failed> {
    let (child, process) = sleeping_child();
    let before = switches(&process);
    assert_eq!(before.len(), 2, "one task, two counters");
    thread::sleep(WATCH);
    assert_eq!(switches(&process), before);
    finish(child)
}
