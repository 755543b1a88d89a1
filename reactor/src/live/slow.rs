//! The slow lane: a few helper threads for what the kernel would block on.
//!
//! Knows nothing of rings and slots: it is given jobs, does each by one blocking system call, and
//! rings an eventfd when results wait to be taken. The threads sleep on a condition variable
//! without a timeout; a lane that nobody uses is silent. It exists from the first miss until the
//! process cools down, because a lane drained is often used again at once, and starting a thread
//! costs more than most misses.
//!
//! Invariant: every job comes back exactly once. A thread stuck in a hung disk keeps its job and
//! nothing else; the other threads go on. The last of them work only on files that no other works
//! on, so three disks that hang leave a thread for a fourth.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::helper::{Helper, Work};
use super::inflight::Id;
use super::job::Job;

/// Helper threads of one reactor, and so of a process, which has one reactor: enough to keep a
/// queue of an SSD from draining, few enough that 1,000 busy processes stay below pid_max 32,768.
const HELPERS_MAX: usize = 8;
/// When so many are at work, the others take only jobs of files that nobody works on: each disk
/// that hangs then costs one more, and not all that are left.
const HELPERS_SHARED: usize = 5;
/// A finished job and its result: bytes moved, or errno.
pub(super) type Done = (Id, Result<usize, i32>);

/// See the head of this file.
pub(super) struct SlowLane {
    /// Before `shared`, so that no helper is the last to let go of that and frees it.
    helpers: Vec<Helper>,
    shared: Arc<Shared>,
    /// Jobs given and not yet taken back.
    outstanding: usize,
    /// Told to end, and not used since.
    cooling: bool,
    /// Empty between two calls; trades places with the list that the threads fill, so that neither
    /// is made anew each time.
    taken: Vec<Done>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    bell: EventFd,
    system_calls: AtomicU64,
}

struct State {
    queue: VecDeque<Job>,
    done: Vec<Done>,
    /// Threads that wait for work, and that live at all.
    idle: usize,
    alive: usize,
    /// Threads that find nothing to do end.
    leaving: bool,
    /// How many threads do a job, and how many on each file, by its index.
    at_work: usize,
    busy: Vec<u8>,
}

impl SlowLane {
    /// A lane without threads, for files with indices below `files`. Fails as eventfd(2).
    pub(super) fn new(files: usize) -> io::Result<Self> {
        let state = State {
            queue: VecDeque::new(),
            done: Vec::new(),
            idle: 0,
            alive: 0,
            leaving: false,
            at_work: 0,
            busy: vec![0; files],
        };
        let shared = Shared {
            state: Mutex::new(state),
            work: Condvar::new(),
            bell: EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?,
            system_calls: AtomicU64::new(1),
        };
        Ok(Self {
            helpers: Vec::new(),
            shared: Arc::new(shared),
            outstanding: 0,
            cooling: false,
            taken: Vec::new(),
        })
    }

    /// The eventfd that becomes readable when results wait for [`SlowLane::take`].
    pub(super) fn bell(&self) -> RawFd {
        self.shared.bell.as_raw_fd()
    }

    /// Jobs given and not yet taken back.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding
    }

    pub(super) fn system_calls(&self) -> u64 {
        self.shared.system_calls.load(Ordering::Relaxed)
    }

    /// Takes a job, starting a thread for it where all are busy and one more is allowed. Fails as
    /// thread creation does, and only when there is no thread at all to do the job later.
    pub(super) fn give(&mut self, job: Job) -> io::Result<()> {
        let mut state = self.shared.lock();
        (state.leaving, self.cooling) = (false, false);
        let wants_helper = state.wants_helper(&job);
        state.queue.push_back(job);
        state.make_room(self.outstanding + 1);
        if wants_helper {
            self.helpers.retain_mut(|helper| !helper.has_ended());
            match Helper::start(&self.shared) {
                Ok(helper) => {
                    state.alive += 1;
                    self.helpers.push(helper);
                }
                Err(error) if state.alive == 0 => {
                    state.queue.pop_back();
                    return Err(error);
                }
                Err(_the_others_will_come_to_it) => {}
            }
        }
        if state.idle > 0 {
            self.shared.count(1);
            self.shared.work.notify_one();
        }
        self.outstanding += 1;
        Ok(())
    }

    /// All results since the last call.
    pub(super) fn take(&mut self) -> std::vec::Drain<'_, Done> {
        let mut state = self.shared.lock();
        std::mem::swap(&mut state.done, &mut self.taken);
        self.outstanding -= self.taken.len();
        state.make_room(self.outstanding);
        drop(state);
        self.taken.drain(..)
    }

    /// Ends the idle threads and, where no job is outstanding, waits until they are gone: true
    /// then. Busy ones end when they find nothing more to do.
    pub(super) fn cool(&mut self) -> bool {
        self.shared.lock().leaving = true;
        self.cooling = true;
        self.shared.count(1);
        self.shared.work.notify_all();
        if self.outstanding == 0 {
            self.helpers.clear();
        }
        self.helpers.is_empty()
    }

    /// Whether [`SlowLane::cool`] found jobs outstanding, and all have come back since.
    pub(super) fn is_cold(&self) -> bool {
        self.outstanding == 0 && self.cooling
    }

    /// Whether [`SlowLane::cool`] was called, and no job was given since.
    pub(super) fn is_cooling(&self) -> bool {
        self.cooling
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, system_calls: u64) {
        self.system_calls.fetch_add(system_calls, Ordering::Relaxed);
    }

    /// Waits for a job; `None` when there is none and idle threads are to leave.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.take_job() {
                return Some(job);
            }
            if state.leaving {
                state.alive -= 1;
                return None;
            }
            state.idle += 1;
            self.count(1);
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    fn finish(&self, job: &Job, result: Result<usize, i32>) {
        let mut state = self.lock();
        state.at_work -= 1;
        if let Some(busy) = state.busy.get_mut(job.file as usize) {
            *busy -= 1;
        }
        let first = state.done.is_empty();
        state.done.push((job.id, result));
        drop(state);
        // Results that came before are still waiting for a bell that has rung.
        if first {
            self.count(1);
            // Fails only when the counter is at its end, and then the bell is ringing anyway.
            drop(self.bell.write(1));
        }
    }
}

impl Work for Shared {
    const NAME: &CStr = c"slow-lane";

    fn work(&self) {
        while let Some(job) = self.next() {
            self.count(1);
            let result = job.wait();
            self.finish(&job, result);
        }
    }
}

impl State {
    /// Makes room for `results`, so that helpers never allocate when they leave theirs.
    fn make_room(&mut self, results: usize) {
        self.done.reserve(results.saturating_sub(self.done.len()));
    }

    /// Whether a job about to be queued needs one more thread, and may have it.
    fn wants_helper(&self, job: &Job) -> bool {
        let of_another = |queued: &Job| queued.file != job.file;
        if self.busy(job) == 0 && self.queue.iter().all(of_another) {
            // A thread that is idle takes such a job before any other.
            let unserved = self.queue.iter().filter(|queued| self.busy(queued) == 0);
            return unserved.count() >= self.idle && self.alive < HELPERS_MAX;
        }
        self.queue.len() >= self.idle && self.alive < HELPERS_SHARED
    }

    /// The first job of a file that nobody works on; or else the first of all, unless the threads
    /// that are left are kept for other files.
    fn take_job(&mut self) -> Option<Job> {
        let unserved = self.queue.iter().position(|job| self.busy(job) == 0);
        let position = match unserved {
            Some(position) => position,
            None if self.at_work < HELPERS_SHARED => 0,
            None => return None,
        };
        let job = self.queue.remove(position)?;
        self.at_work += 1;
        *self.busy.get_mut(job.file as usize)? += 1;
        Some(job)
    }

    /// How many threads work on the file of a job.
    fn busy(&self, job: &Job) -> u8 {
        self.busy.get(job.file as usize).copied().unwrap_or(0)
    }
}

#[cfg(test)]
#[path = "slow_tests.rs"]
mod tests;
