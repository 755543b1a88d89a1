//! Where an operation goes: into the ring, to an inline call, to the slow lane, and from one to the
//! next until it has a result.
//!
//! UNSAFETY: this is where memory is handed to the kernel and to helper threads. The reason is the
//! same each time: the operation, with its lease, is in the in-flight table before, and leaves it
//! only in `finish`, which is called with the last result for it; and the reactor is not dropped
//! before the table is empty.
//!
//! Invariant: an operation is at one place at a time, and every path ends in `finish`.
#![expect(
    unsafe_code,
    reason = "lends memory to the kernel; see the head of this file"
)]

use std::io;
use std::os::fd::AsRawFd;

use super::files::Kind;
use super::inflight::{Id, Operation, Stage};
use super::job::Job;
use super::ring::Share;
use super::slow::SlowLane;
use super::{Uring, entry};
use crate::{Submission, Verb};

/// The number of the read of the slow lane's bell.
const BELL: u64 = u64::MAX;
/// The number of every cancellation. Nobody waits for its result, but for what it cancels.
const CANCEL: u64 = u64::MAX - 1;

impl Uring {
    /// Takes an operation in and sends it on its way.
    pub(super) fn start(&mut self, submission: Submission) {
        let admitted = submission
            .check()
            .and_then(|()| self.files.admit(submission.slot, submission.verb));
        let (file, kind) = match admitted {
            Ok(admitted) => admitted,
            Err(errno) => return self.ended.push(submission.ended(Err(errno))),
        };
        let verb = submission.verb;
        let stage = match verb {
            Verb::Ready => Stage::Readiness,
            _ => Stage::Transfer,
        };
        let id = self.in_flight.insert(Operation {
            submission,
            file,
            stage,
        });
        match (kind, verb) {
            (_, Verb::Sync) => {
                self.counters.syncs += 1;
                self.detour(id);
            }
            (Kind::Cached, _) => self.transfer_now(id, libc::RWF_NOWAIT),
            (Kind::Memory, _) => self.transfer_now(id, 0),
            (Kind::Image | Kind::Stream, _) => self.queue(id),
        }
    }

    /// Takes in all results that the ring has.
    pub(super) fn take_in(&mut self) {
        while let Some((number, result)) = self.ring.pop() {
            match number {
                CANCEL => {}
                BELL => self.take_from_lane(),
                number => {
                    let result = usize::try_from(result).map_err(|_| result.wrapping_neg());
                    self.returned(Id::from(number), result);
                }
            }
        }
    }

    /// Listens for the slow lane, if it has anything to say.
    pub(super) fn listen(&mut self) {
        let Some(lane) = self.slow.as_ref().filter(|lane| lane.outstanding() > 0) else {
            return;
        };
        if !self.listening {
            let entry = entry::listen(lane.bell(), self.rung.get());
            // SAFETY: the counter is dropped with the reactor, hence when no job is outstanding,
            // hence when this read has ended.
            unsafe { self.ring.push(entry, BELL, Share::Whole) };
            self.listening = true;
        }
    }

    /// Has the ring end what waits on a file.
    pub(super) fn cancel(&mut self, file: u32) {
        // SAFETY: a cancellation names no memory.
        unsafe { self.ring.push(entry::cancel(file), CANCEL, Share::Whole) };
    }

    /// Parts with a lane that has no threads left.
    pub(super) fn drop_lane(&mut self) {
        self.counters.slow_calls += self.slow.take().map_or(0, |lane| lane.system_calls());
    }

    fn job(&mut self, id: Id) -> Option<Job> {
        let operation = self.in_flight.get_mut(id)?;
        let fd = self.files.get(operation.file)?.fd.as_raw_fd();
        // SAFETY: for the lease, see the head of this file; and the descriptor stays open because
        // a file is let go of only when no operation is under way on it.
        Some(unsafe { Job::new(id, operation, fd) })
    }

    /// Into the ring: the transfer, or the wait for readiness.
    fn queue(&mut self, id: Id) {
        let Some(job) = self.job(id) else {
            return;
        };
        let entry = match self.stage(id) {
            Some(Stage::Readiness) => entry::readiness(&job),
            _ => entry::transfer(&job),
        };
        let share = match job.verb {
            Verb::ReadAt | Verb::WriteAt | Verb::Sync => Share::Images,
            Verb::Receive | Verb::Send | Verb::Ready => Share::Whole,
        };
        // SAFETY: the in-flight table owns the lease; see the head of this file.
        unsafe { self.ring.push(entry, id.number(), share) };
    }

    /// An image operation by a call of this thread.
    fn transfer_now(&mut self, id: Id, flags: i32) {
        if let Some(job) = self.job(id) {
            self.counters.inline_calls += 1;
            self.image_returned(id, job.attempt(flags));
        }
    }

    /// To the slow lane, which is made if there is none.
    fn detour(&mut self, id: Id) {
        let Some(job) = self.job(id) else {
            return;
        };
        if let Err(error) = self.lane().and_then(|lane| lane.give(job)) {
            self.finish(id, Err(errno(&error)));
        }
    }

    fn lane(&mut self) -> io::Result<&mut SlowLane> {
        if self.slow.is_none() {
            self.slow = Some(SlowLane::new(self.files.room())?);
        }
        self.slow
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The ring's answer to an operation.
    fn returned(&mut self, id: Id, result: Result<usize, i32>) {
        let Some(operation) = self.in_flight.get_mut(id) else {
            debug_assert!(false, "the ring answered {id:?}, which is not under way");
            return;
        };
        match (operation.submission.verb, operation.stage) {
            (Verb::ReadAt | Verb::WriteAt | Verb::Sync, _) => self.image_returned(id, result),
            // What the ring says of a file that is ready is a mask of events.
            (Verb::Ready, _) => self.finish(id, result.map(|_| 0)),
            (_, Stage::Transfer) => self.stream_returned(id, result),
            (_, Stage::Readiness) if result.is_err() => self.finish(id, result),
            // Done by a call and not by the ring again: there are kernels where a file can be
            // ready and its entry be refused with EAGAIN all the same, which would go on for ever.
            (_, Stage::Readiness) => {
                if let Some(job) = self.job(id) {
                    self.counters.inline_calls += 1;
                    self.stream_returned(id, job.attempt(0));
                }
            }
        }
    }

    fn image_returned(&mut self, id: Id, result: Result<usize, i32>) {
        match result {
            Err(libc::EAGAIN) => self.counters.missed_would_block += 1,
            Err(libc::EOPNOTSUPP) => self.counters.missed_unsupported += 1,
            Err(libc::EINTR) => self.counters.missed_interrupted += 1,
            result => return self.finish(id, result),
        }
        self.detour(id);
    }

    fn stream_returned(&mut self, id: Id, result: Result<usize, i32>) {
        if !matches!(result, Err(libc::EAGAIN | libc::EINTR)) {
            return self.finish(id, result);
        }
        let Some(operation) = self.in_flight.get_mut(id) else {
            return;
        };
        if self
            .files
            .get(operation.file)
            .is_none_or(|file| file.closing)
        {
            return self.finish(id, Err(libc::ECANCELED));
        }
        operation.stage = Stage::Readiness;
        self.counters.polls += 1;
        self.queue(id);
    }

    /// Takes in all results of the slow lane, and parts with a lane that was to cool down once
    /// its last job is back.
    fn take_from_lane(&mut self) {
        self.listening = false;
        let Some(mut lane) = self.slow.take() else {
            return;
        };
        for (id, result) in lane.take() {
            self.finish(id, result);
        }
        let cold = lane.is_cold() && lane.cool();
        self.slow = Some(lane);
        if cold {
            self.drop_lane();
        }
    }

    /// The end of every operation.
    fn finish(&mut self, id: Id, result: Result<usize, i32>) {
        let Some(operation) = self.in_flight.remove(id) else {
            return;
        };
        self.ended.push(operation.submission.ended(result));
        if self.files.ended(operation.file) {
            self.let_go(operation.file);
        }
    }

    fn stage(&mut self, id: Id) -> Option<Stage> {
        Some(self.in_flight.get_mut(id)?.stage)
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EAGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::Config;
    use crate::{Completion, Outcome, Pool, Reactor, Sleep, Token};
    use std::io::{PipeReader, PipeWriter, Write};

    /// A reactor with a read of a pipe that its entry has just been refused with EAGAIN, as device
    /// files do that cannot wait inside of the kernel. No file of an ordinary machine does.
    fn refused() -> (Uring, PipeWriter, Pool) {
        let (reader, writer): (PipeReader, PipeWriter) = io::pipe().unwrap();
        let pool = Pool::new(1, 4096).unwrap();
        let mut uring = Uring::new(Config::default()).unwrap();
        let slot = uring.add_stream(reader.into()).unwrap();
        let (file, _) = uring.files.admit(slot, Verb::Receive).unwrap();
        let token = Token {
            owner: 0,
            layer: 0,
            tag: 0,
        };
        let submission = Submission {
            slot,
            verb: Verb::Receive,
            offset: 0,
            lease: pool.lease(),
            range: 0..8,
            token,
        };
        let stage = Stage::Transfer;
        let id = uring.in_flight.insert(Operation {
            submission,
            file,
            stage,
        });
        uring.returned(id, Err(libc::EAGAIN));
        (uring, writer, pool)
    }

    fn result(completion: Option<Completion>) -> Result<usize, i32> {
        match completion.unwrap().outcome {
            Outcome::Io { result, .. } => result,
            Outcome::Deadline => Err(libc::ETIME),
        }
    }

    #[test]
    fn a_stream_that_cannot_wait_in_its_entry_is_polled_and_read_when_ready() {
        let (mut uring, mut writer, _pool) = refused();
        let mut completions = Vec::new();
        uring.wait(Sleep::No, &mut completions);
        assert!(completions.is_empty());
        writer.write_all(b"abc").unwrap();
        uring.wait(Sleep::UntilWork, &mut completions);
        assert_eq!(result(completions.pop()), Ok(3));
        assert_eq!(uring.counters().polls, 1);
    }

    #[test]
    fn a_poll_for_readiness_ends_when_the_peer_is_gone() {
        let (mut uring, writer, _pool) = refused();
        drop(writer);
        let mut completions = Vec::new();
        uring.wait(Sleep::UntilWork, &mut completions);
        assert_eq!(result(completions.pop()), Ok(0));
    }

    #[test]
    fn a_poll_for_readiness_is_cancelled_by_closing() {
        let (mut uring, _writer, pool) = refused();
        let slot = uring.files.open()[0];
        uring.close(slot);
        let mut completions = Vec::new();
        uring.wait(Sleep::UntilWork, &mut completions);
        assert_eq!(result(completions.pop()), Err(libc::ECANCELED));
        assert_eq!(pool.free(), 1);
    }

    /// An image and an operation on it that no one answers, as if its disk hung.
    fn hung(uring: &mut Uring) -> Id {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let slot = uring.add_cached_image(file.into()).unwrap();
        let (file, _) = uring.files.admit(slot, Verb::Sync).unwrap();
        let token = Token {
            owner: 0,
            layer: 0,
            tag: 0,
        };
        let submission = Submission {
            slot,
            verb: Verb::Sync,
            offset: 0,
            lease: None,
            range: 0..0,
            token,
        };
        let stage = Stage::Transfer;
        uring.in_flight.insert(Operation {
            submission,
            file,
            stage,
        })
    }

    #[test]
    fn a_lane_used_again_after_cooling_makes_the_reactor_warm_again() {
        let mut uring = Uring::new(Config::default()).unwrap();
        let id = hung(&mut uring);
        uring.cool();
        assert!(!uring.is_warm());
        // The ring's late answer to what was in it when the process cooled down.
        uring.image_returned(id, Err(libc::EAGAIN));
        assert!(uring.is_warm());
        uring.wait(Sleep::UntilWork, &mut Vec::new());
        uring.cool();
        assert!(!uring.is_warm());
    }

    #[test]
    fn a_reactor_given_up_does_not_wait_for_a_disk_that_hangs() {
        let mut uring = Uring::new(Config::default()).unwrap();
        hung(&mut uring);
        uring.abandon();
    }

    #[test]
    fn a_reactor_given_up_lets_go_of_the_files_at_rest() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut uring = Uring::new(Config::default()).unwrap();
        hung(&mut uring);
        uring.add_stream(reader.into()).unwrap();
        uring.abandon();
        let refused = writer.write(b"a").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::BrokenPipe);
    }
}
