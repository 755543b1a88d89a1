//! The reactor of a running process: one io_uring, one thread, one place to sleep.
//!
//! ```text
//! submit ─► inflight ─┬─► ring (images NOWAIT, streams) ──┬─► completion
//!                     ├─► inline call (cached images) ────┤
//!                     └─► slow lane ◄─ what would block ──┘
//! ```
//!
//! Knows files, not what is in them, and operations, not what they mean.
//!
//! Invariant: an operation is in the in-flight table, and its lease with it, from submission until
//! its completion exists; so neither the kernel nor a helper thread ever works on memory that was
//! returned. The kernel's own worker threads (io-wq) never run, see `entry.rs`.

mod entry;
mod error;
mod files;
pub mod helper;
mod inflight;
mod job;
mod ring;
mod route;
mod slow;
mod sys;

use std::cell::UnsafeCell;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use self::files::{File, Files, Kind};
use self::inflight::InFlight;
use self::ring::{Patience, Ring};
use self::slow::SlowLane;
use crate::deadlines::Deadlines;
use crate::{Completion, Nanos, Reactor, Sleep, Slot, Submission, Token};

pub use self::error::Error;

/// How large the tables of a [`Uring`] are. All are private memory or memory of the kernel, once
/// per process: the defaults cost 8 KiB of rings and 5 KiB of tables.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Entries of the submission queue, a power of two. When more are submitted between two waits,
    /// the queue is handed to the kernel early.
    pub entries: u32,
    /// Entries of the completion queue. No more operations than this are in the ring at once, so
    /// that every result has its place, and no more than three quarters on images; what is
    /// submitted beyond that waits in the process for the end of others.
    pub completions: u32,
    /// How many files can be open at once, at most 65,536 and at most RLIMIT_NOFILE.
    pub files: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            entries: 64,
            // Three disks with 32 requests each, and a quarter for everything else. Twice as many cost
            // every process a page more.
            completions: 128,
            files: 64,
        }
    }
}

/// What a [`Uring`] did so far, in calls and events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls of io_uring_enter.
    pub enters: u64,
    /// Calls of io_uring_register.
    pub registers: u64,
    /// Enters made only because the submission queue was full.
    pub early_submits: u64,
    /// Enters that found completions which had not fitted into the completion queue: none.
    pub overflows: u64,
    /// Reads and writes made by calls from the reactor's own thread, and its calls on descriptors.
    pub inline_calls: u64,
    /// Calls made by and for the helper threads of the slow lane.
    pub slow_calls: u64,
    /// Image operations done by the slow lane because the kernel would have waited (EAGAIN).
    pub missed_would_block: u64,
    /// As above, because the file system has no RWF_NOWAIT for them (EOPNOTSUPP).
    pub missed_unsupported: u64,
    /// As above, because a signal came first (EINTR).
    pub missed_interrupted: u64,
    /// [`Verb::Sync`](crate::Verb::Sync): always the slow lane.
    pub syncs: u64,
    /// Stream operations that had to wait for readiness by a poll of their own.
    pub polls: u64,
}

/// The live reactor. It belongs to the thread that made it.
pub struct Uring {
    ring: Ring,
    files: Files,
    in_flight: InFlight,
    deadlines: Deadlines,
    /// Ended, and not yet handed out by [`Reactor::wait`].
    ended: Vec<Completion>,
    slow: Option<SlowLane>,
    /// Whether a read of the slow lane's bell is under way. It is exactly while jobs are
    /// outstanding, so that a lane at rest leaves nothing in the kernel.
    listening: bool,
    /// Where that read puts the bell's counter, which nobody looks at. It stays where it is when
    /// the reactor moves.
    rung: Box<UnsafeCell<u64>>,
    now: Nanos,
    /// What no part counts by itself.
    counters: Counters,
}

/// How many operations a table has room for at first: a disk at full depth, and one for each stream.
/// Twice as many cost every process a page.
pub const OPERATIONS: usize = 40;

impl Uring {
    /// Makes the ring. Fails with one line for the operator where the kernel is older than 6.1,
    /// forbids io_uring, or has no memory for it.
    pub fn new(config: Config) -> Result<Self, Error> {
        Ok(Self {
            ring: Ring::new(config)?,
            files: Files::new(config.files as usize),
            in_flight: InFlight::with_capacity(OPERATIONS),
            deadlines: Deadlines::default(),
            ended: Vec::with_capacity(OPERATIONS),
            slow: None,
            listening: false,
            rung: Box::new(UnsafeCell::new(0)),
            now: sys::monotonic_ns(),
            counters: Counters::default(),
        })
    }

    /// Adds a disk image opened with `O_DIRECT`. One that lives in memory alone (tmpfs, memfd) is
    /// read and written by inline calls, because there the kernel refuses RWF_NOWAIT.
    pub fn add_image(&mut self, fd: OwnedFd) -> Result<Slot, Error> {
        self.add_file(fd, Kind::Image)
    }

    /// Adds a disk image opened without `O_DIRECT`: what the page cache has is read and written by
    /// inline calls, the rest by the slow lane. Transfers at the edge of what is cached are short.
    pub fn add_cached_image(&mut self, fd: OwnedFd) -> Result<Slot, Error> {
        self.add_file(fd, Kind::Cached)
    }

    /// Adds a stream or counter (socket, pipe, eventfd, event channels, xenstore), and makes it
    /// nonblocking, which everyone sees who shares its open file description.
    pub fn add_stream(&mut self, fd: OwnedFd) -> Result<Slot, Error> {
        self.counters.inline_calls += 2;
        sys::set_nonblocking(fd.as_fd()).map_err(Error::Add)?;
        self.add(fd, Kind::Stream)
    }

    /// Lets go of every file that nothing is under way on, and of all else where nothing is under
    /// way at all. Where something is, its memory, its file and the threads stay as they are until
    /// the process ends, which should be soon: dropping the reactor would wait for the disk.
    pub fn abandon(mut self) {
        for slot in self.files.open() {
            self.close(slot);
        }
        if !self.in_flight.is_empty() {
            std::mem::forget(self);
        }
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        Counters {
            enters: self.ring.enters,
            registers: self.ring.registers,
            early_submits: self.ring.early_submits,
            overflows: self.ring.overflows,
            slow_calls: self.counters.slow_calls
                + self.slow.as_ref().map_or(0, SlowLane::system_calls),
            ..self.counters
        }
    }

    fn add_file(&mut self, fd: OwnedFd, kind: Kind) -> Result<Slot, Error> {
        self.counters.inline_calls += 1;
        let in_memory = sys::is_memory_backed(fd.as_fd()).map_err(Error::Add)?;
        self.add(fd, if in_memory { Kind::Memory } else { kind })
    }

    fn add(&mut self, fd: OwnedFd, kind: Kind) -> Result<Slot, Error> {
        let Some(index) = self.files.vacant() else {
            let files = self.files.room();
            return Err(Error::TableFull { files });
        };
        self.ring
            .set_file(index, fd.as_raw_fd())
            .map_err(Error::Add)?;
        Ok(self.files.insert(
            index,
            File {
                fd,
                kind,
                in_flight: 0,
                closing: false,
            },
        ))
    }

    /// One enter at most: submits, and sleeps where `sleep` allows and nothing has ended yet.
    fn enter(&mut self, sleep: Sleep) {
        let something_ended = !self.ended.is_empty() || self.ring.has_results();
        let patience = match (sleep, self.deadlines.earliest()) {
            (Sleep::No, _) => Patience::None,
            (Sleep::UntilWork, _) if something_ended => Patience::None,
            (Sleep::UntilWork, None) => Patience::Forever,
            // From when the caller's turn began: where the kernel does not share its clock with
            // processes, as in some PV domains, asking for the time is a system call.
            (Sleep::UntilWork, Some(at)) => match at.saturating_sub(self.now) {
                0 => Patience::None,
                nanos => Patience::For(nanos),
            },
        };
        if patience != Patience::None || self.ring.wants_enter() {
            self.enter_for(patience);
        }
    }

    /// # Panics
    /// When the kernel says that there is no such ring, or that the call makes no sense: then this
    /// file is wrong, and there is no place left to sleep.
    fn enter_for(&mut self, patience: Patience) {
        if let Err(error) = self.ring.enter(patience) {
            panic!("io_uring_enter refused: {error}");
        }
    }

    /// Empties the ring's slot, then closes the descriptor.
    fn let_go(&mut self, index: u32) {
        let Some(file) = self.files.remove(index) else {
            return;
        };
        // Fails only for an index outside of the table, which `Files` does not hand out.
        drop(self.ring.set_file(index, -1));
        // A ring may hold on to a file for some time after its slot was emptied (up to a second
        // before Linux 6.13), and a lock lives as long as the file: so it is released by name.
        // Streams, and file systems without locks, refuse; then there is nothing to release.
        drop(sys::unlock(file.fd.as_fd()));
        self.counters.inline_calls += 2;
    }
}

impl Reactor for Uring {
    fn now(&self) -> Nanos {
        self.now
    }

    fn submit(&mut self, submission: Submission) {
        self.start(submission);
    }

    fn set_deadline(&mut self, token: Token, at: Nanos) {
        self.deadlines.set(token, at);
    }

    fn cancel_deadline(&mut self, token: Token) {
        self.deadlines.cancel(token);
    }

    fn wait(&mut self, sleep: Sleep, completions: &mut Vec<Completion>) {
        loop {
            self.listen();
            self.enter(sleep);
            self.take_in();
            self.now = sys::monotonic_ns();
            self.deadlines.fire(self.now, &mut self.ended);
            // What was only a miss, a readiness or a signal is no work for the caller.
            if sleep == Sleep::No || !self.ended.is_empty() {
                break;
            }
        }
        completions.append(&mut self.ended);
    }

    fn close(&mut self, slot: Slot) {
        let Some(index) = self.files.index(slot) else {
            return;
        };
        if self.files.begin_close(index) {
            self.let_go(index);
        }
        // What waits on a stream is called back, which takes effect at once. Operations on images
        // cannot be called back, and nobody waits here: the last of them lets go of the file.
        while self
            .files
            .get(index)
            .is_some_and(|file| file.kind == Kind::Stream)
        {
            self.cancel(index);
            self.listen();
            self.enter_for(Patience::Forever);
            self.take_in();
        }
    }

    fn cool(&mut self) {
        if self.slow.as_mut().is_some_and(SlowLane::cool) {
            self.drop_lane();
        }
    }

    fn is_warm(&self) -> bool {
        self.slow.as_ref().is_some_and(|lane| !lane.is_cooling())
    }

    fn system_calls(&self) -> u64 {
        let counters = self.counters();
        counters.enters + counters.registers + counters.inline_calls + counters.slow_calls
    }
}

impl Drop for Uring {
    /// Waits for everything that works on leased memory. On a disk that hangs, that is for ever:
    /// such memory must not be returned. Who cannot wait calls [`Uring::abandon`].
    fn drop(&mut self) {
        for slot in self.files.open() {
            self.close(slot);
        }
        while !self.in_flight.is_empty() {
            self.listen();
            self.enter_for(Patience::Forever);
            self.take_in();
        }
        self.cool();
    }
}
