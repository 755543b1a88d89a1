//! One io_uring: entries go in, results come out, and one call does both and sleeps.
//!
//! Knows nothing of what an entry is for: a result carries the number that its entry was given.
//!
//! UNSAFETY: entries name memory that the kernel reads or writes until the result is there; whoever
//! pushes one vouches for that memory. And the enter call takes a pointer to its timeout.
#![expect(
    unsafe_code,
    reason = "the ring's system call; see the head of this file"
)]

use std::io;
use std::os::fd::RawFd;

use io_uring::squeue::Entry;
use io_uring::{EnterFlags, IoUring};

use super::{Config, Error};
use crate::Nanos;

/// A ring with its table of files, and what it cost so far.
pub(super) struct Ring {
    io: IoUring,
    pub(super) enters: u64,
    pub(super) registers: u64,
    pub(super) early_submits: u64,
    pub(super) overflows: u64,
}

/// How long an enter may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// It submits, takes in what the kernel has deferred to us, and returns.
    None,
    /// Until one result is there, or so many nanoseconds have passed.
    For(Nanos),
    /// Until one result is there.
    Forever,
}

/// `struct io_uring_getevents_arg` of linux/io_uring.h.
#[repr(C)]
struct GetEventsArg {
    sigmask: u64,
    sigmask_bytes: u32,
    min_wait_us: u32,
    timespec: u64,
}

/// `struct __kernel_timespec` of linux/time_types.h.
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanos: i64,
}

impl Ring {
    /// Makes a ring that belongs to the calling thread, with an empty table of files.
    pub(super) fn new(config: Config) -> Result<Self, Error> {
        let io = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(config.completions)
            .dontfork()
            .build(config.entries)
            .map_err(Error::create)?;
        io.submitter()
            .register_files_sparse(config.files)
            .map_err(Error::Create)?;
        Ok(Self {
            io,
            enters: 0,
            registers: 1,
            early_submits: 0,
            overflows: 0,
        })
    }

    /// Puts `fd` into slot `file` of the table; -1 empties it.
    pub(super) fn set_file(&mut self, file: u32, fd: RawFd) -> io::Result<()> {
        self.registers += 1;
        self.io
            .submitter()
            .register_files_update(file, &[fd])
            .map(drop)
    }

    /// Queues an entry whose result will carry `number`. A full queue is submitted early; fails
    /// as the kernel does when it takes nothing even then.
    ///
    /// # Safety
    /// Memory that `entry` names stays valid, and untouched by other Rust code but for volatile
    /// access, until the result numbered `number` has been popped.
    pub(super) unsafe fn push(&mut self, entry: Entry, number: u64) -> io::Result<()> {
        let entry = entry.user_data(number);
        // SAFETY: passed on to the caller.
        if unsafe { self.io.submission().push(&entry) }.is_ok() {
            return Ok(());
        }
        self.early_submits += 1;
        self.enter(Patience::None)?;
        // SAFETY: passed on to the caller.
        unsafe { self.io.submission().push(&entry) }
            .map_err(|_full| io::Error::from_raw_os_error(libc::EAGAIN))
    }

    /// Whether an enter that does not sleep would change anything: entries to submit, or results
    /// that the kernel has deferred to us or could not fit.
    pub(super) fn wants_enter(&mut self) -> bool {
        let queue = self.io.submission();
        !queue.is_empty() || queue.taskrun() || queue.cq_overflow()
    }

    /// Whether a result can be popped without an enter.
    pub(super) fn has_results(&mut self) -> bool {
        !self.io.completion().is_empty()
    }

    /// Submits all that is queued, and sleeps as `patience` allows. Returns without error when the
    /// time is up or a signal came; the clock tells the caller which.
    pub(super) fn enter(&mut self, patience: Patience) -> io::Result<()> {
        self.enters += 1;
        let queue = self.io.submission();
        self.overflows += u64::from(queue.cq_overflow());
        let queued = u32::try_from(queue.len()).unwrap_or(u32::MAX);
        drop(queue);
        match self.system_call(queued, patience) {
            Err(error) if !matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR)) => {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    fn system_call(&self, queued: u32, patience: Patience) -> io::Result<usize> {
        let timespec = match patience {
            Patience::For(nanos) => Some(Timespec::from(nanos)),
            Patience::None | Patience::Forever => None,
        };
        let argument = GetEventsArg {
            sigmask: 0,
            sigmask_bytes: 0,
            min_wait_us: 0,
            timespec: timespec
                .as_ref()
                .map_or(0, |time| std::ptr::from_ref(time).addr() as u64),
        };
        let results = u32::from(patience != Patience::None);
        // GETEVENTS also where we do not sleep: it is what runs the work deferred to this thread.
        let flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        // SAFETY: the argument and its timespec live until the call returns, and who pushed the
        // entries vouched for their memory.
        unsafe {
            self.io
                .submitter()
                .enter(queued, results, flags.bits(), Some(&argument))
        }
    }

    /// Takes the next result: the number of its entry, and what the kernel said.
    pub(super) fn pop(&mut self) -> Option<(u64, i32)> {
        let entry = self.io.completion().next()?;
        Some((entry.user_data(), entry.result()))
    }
}

impl From<Nanos> for Timespec {
    fn from(nanos: Nanos) -> Self {
        // Neither fails: 2^64 ns are 18 billion seconds, and the remainder is below one.
        Self {
            seconds: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
            nanos: i64::try_from(nanos % 1_000_000_000).unwrap_or(0),
        }
    }
}
