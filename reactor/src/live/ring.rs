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

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;

use io_uring::squeue::Entry;
use io_uring::{EnterFlags, IoUring};

use super::{Config, Error};
use crate::Nanos;

/// A ring with its table of files, and what it cost so far.
pub(super) struct Ring {
    io: IoUring,
    /// How many results the completion queue holds. What does not fit the kernel keeps in memory
    /// that it may not get, and then the result is lost for ever (EBADR): so no more entries than
    /// this are under way.
    completions: u32,
    /// Entries given to the queue whose results have not been popped.
    under_way: u32,
    /// Entries that wait for room, of results or in the queue. They go before any newer one of
    /// their share.
    late: VecDeque<Entry>,
    /// As above, of [`Share::Images`].
    late_images: VecDeque<Entry>,
    pub(super) enters: u64,
    pub(super) registers: u64,
    pub(super) early_submits: u64,
    pub(super) overflows: u64,
}

/// Which part of the completion queue an entry may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// Three quarters: a disk that hangs keeps what it has for ever, and must not keep the process
    /// from hearing anything else.
    Images,
    /// All of it. Its entries are few: a handful for each stream.
    Whole,
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
            .map_err(|error| Error::table(error, config.files))?;
        Ok(Self {
            completions: io.params().cq_entries(),
            under_way: 0,
            io,
            late: VecDeque::new(),
            late_images: VecDeque::new(),
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

    /// Queues an entry whose result will carry `number`. A full queue is submitted early; where
    /// the kernel takes nothing even then, the entry goes with a later enter. So does one whose
    /// result would find no room.
    ///
    /// # Safety
    /// Memory that `entry` names stays valid, and untouched by other Rust code but for volatile
    /// access, until the result numbered `number` has been popped.
    pub(super) unsafe fn push(&mut self, entry: Entry, number: u64, share: Share) {
        let late = match share {
            Share::Images => &mut self.late_images,
            Share::Whole => &mut self.late,
        };
        late.push_back(entry.user_data(number));
        self.fill();
        if self.is_queue_full() {
            self.early_submits += 1;
            // A refusal that does not pass comes back at the next enter, whose caller judges it.
            drop(self.enter(Patience::None));
            self.fill();
        }
    }

    /// Moves late entries into the queue, as many as it has room for and their results will have.
    fn fill(&mut self) {
        let images = self.room_for(Share::Images);
        let whole = self.room_for(Share::Whole);
        let mut queue = self.io.submission();
        for (late, room) in [(&mut self.late, whole), (&mut self.late_images, images)] {
            while let Some(entry) = late.front().filter(|_| self.under_way < room) {
                // SAFETY: who pushed the entry vouched for its memory until its result is popped.
                if unsafe { queue.push(entry) }.is_err() {
                    return;
                }
                late.pop_front();
                self.under_way += 1;
            }
        }
    }

    /// How many entries may be under way for one of this share to join them.
    fn room_for(&self, share: Share) -> u32 {
        match share {
            Share::Images => self.completions - self.completions / 4,
            Share::Whole => self.completions,
        }
    }

    /// Whether an entry waits for nothing but room in the queue, which an enter makes.
    fn is_queue_full(&self) -> bool {
        let waits = |late: &VecDeque<Entry>, share| {
            !late.is_empty() && self.under_way < self.room_for(share)
        };
        waits(&self.late, Share::Whole) || waits(&self.late_images, Share::Images)
    }

    /// Whether an enter that does not sleep would change anything: entries to submit, or results
    /// that the kernel has deferred to us or could not fit.
    pub(super) fn wants_enter(&mut self) -> bool {
        // Results may have been popped since the last look.
        self.fill();
        let due = self.is_queue_full();
        let queue = self.io.submission();
        !queue.is_empty() || due || queue.taskrun() || queue.cq_overflow()
    }

    /// Whether a result can be popped without an enter.
    pub(super) fn has_results(&mut self) -> bool {
        !self.io.completion().is_empty()
    }

    /// Submits what is queued, and sleeps as `patience` allows. Returns without error when the
    /// time is up or a signal came; the clock tells the caller which. So it does when the kernel is
    /// short of memory or of room for results: the caller takes in what is there and enters again.
    pub(super) fn enter(&mut self, patience: Patience) -> io::Result<()> {
        self.enters += 1;
        self.fill();
        // What this call does not submit must not wait for the end of what it does, unless it needs
        // the room of that.
        let patience = match self.is_queue_full() {
            true => Patience::None,
            false => patience,
        };
        let queue = self.io.submission();
        self.overflows += u64::from(queue.cq_overflow());
        let queued = u32::try_from(queue.len()).unwrap_or(u32::MAX);
        drop(queue);
        match self.system_call(queued, patience) {
            Err(error) if !passes(&error) => Err(error),
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
        self.under_way = self.under_way.saturating_sub(1);
        Some((entry.user_data(), entry.result()))
    }
}

/// Whether the same call may succeed later: the time was up, a signal came, or the kernel is short
/// of memory or of room for results.
fn passes(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ENOMEM)
    )
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

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use io_uring::opcode::{Nop, PollAdd};
    use io_uring::types::Fd;

    use super::*;

    /// More than two queues full.
    const ENTRIES: u64 = 5;

    #[test]
    fn entries_that_the_kernel_had_no_room_for_are_submitted_later_and_in_order() {
        let mut ring = Ring::new(Config {
            entries: 2,
            ..Config::default()
        })
        .unwrap();
        // As after a push into a full queue of which the kernel took nothing.
        let nops = (0..ENTRIES).map(|number| Nop::new().build().user_data(number));
        ring.late.extend(nops);
        assert!(ring.wants_enter());
        let mut numbers = Vec::new();
        while ring.wants_enter() {
            ring.enter(Patience::Forever).unwrap();
            numbers.extend(std::iter::from_fn(|| ring.pop()).map(|(number, _)| number));
        }
        assert_eq!(numbers, Vec::from_iter(0..ENTRIES));
    }

    fn small() -> Ring {
        Ring::new(Config {
            entries: 4,
            completions: 8,
            ..Config::default()
        })
        .unwrap()
    }

    fn results(ring: &mut Ring) -> Vec<u64> {
        ring.enter(Patience::Forever).unwrap();
        std::iter::from_fn(|| ring.pop())
            .map(|(number, _)| number)
            .collect()
    }

    #[test]
    fn no_more_is_under_way_than_results_fit() {
        let mut ring = small();
        // SAFETY: an entry that does nothing names no memory.
        (0..64).for_each(|number| unsafe { ring.push(Nop::new().build(), number, Share::Images) });
        assert_eq!((ring.under_way, ring.late_images.len()), (6, 58));
        assert_eq!(results(&mut ring), Vec::from_iter(0..6));
        assert!(ring.wants_enter());
        let mut rest = Vec::new();
        while ring.wants_enter() {
            rest.extend(results(&mut ring));
        }
        assert_eq!(rest, Vec::from_iter(6..64));
        assert_eq!((ring.under_way, ring.overflows), (0, 0));
    }

    #[test]
    fn what_never_ends_leaves_room_for_others() {
        let mut ring = small();
        let (silent, _open) = io::pipe().unwrap();
        let flags = u32::from(libc::POLLIN.unsigned_abs());
        let endless = PollAdd::new(Fd(silent.as_raw_fd()), flags).build();
        // SAFETY: neither entry names memory.
        (0..64).for_each(|number| unsafe { ring.push(endless.clone(), number, Share::Images) });
        // SAFETY: as above.
        unsafe { ring.push(Nop::new().build(), 64, Share::Whole) };
        assert_eq!(results(&mut ring), [64]);
        assert!(!ring.wants_enter(), "nothing but the end of a poll helps");
    }

    #[test]
    fn a_kernel_short_of_memory_or_room_is_asked_again() {
        let passing = [libc::EAGAIN, libc::EBUSY, libc::ENOMEM, libc::EINTR];
        let passed = |errno: &i32| passes(&io::Error::from_raw_os_error(*errno));
        assert!(passing.iter().all(passed));
        assert!(!passed(&libc::EBADF));
    }
}
