//! The submission entries that a reactor uses, built from values; building one starts nothing.
//!
//! Invariant: every entry ends at once or waits by polling, so that the kernel never hands one to
//! an io-wq worker thread, which would wake every five seconds from then on. Image transfers carry
//! RWF_NOWAIT; streams are nonblocking files.

use std::os::fd::RawFd;

use io_uring::opcode;
use io_uring::squeue::Entry;
use io_uring::types::{CancelBuilder, Fd, Fixed};

use super::job::Job;
use crate::Verb;

/// Stands for "at the position of the file", which is what read(2) and write(2) mean.
const AT_POSITION: u64 = u64::MAX;

/// Does `job`. An image answers EAGAIN or EOPNOTSUPP where it would wait. A stream waits in the
/// kernel until it is ready, where the kernel can, and answers EAGAIN where not.
pub(super) fn transfer(job: &Job) -> Entry {
    let (offset, flags) = match job.verb {
        Verb::ReadAt | Verb::WriteAt | Verb::Sync => (job.offset, libc::RWF_NOWAIT),
        Verb::Receive | Verb::Send | Verb::Ready => (AT_POSITION, 0),
    };
    let (file, start, len) = (Fixed(job.file), job.start, job.len_bytes);
    if matches!(job.verb, Verb::WriteAt | Verb::Send) {
        let write = opcode::Write::new(file, start.cast_const(), len);
        write.offset(offset).rw_flags(flags).build()
    } else {
        opcode::Read::new(file, start, len)
            .offset(offset)
            .rw_flags(flags)
            .build()
    }
}

/// Waits once until `job` can go on. Errors and hang-ups wake it too.
pub(super) fn readiness(job: &Job) -> Entry {
    let events = match job.verb {
        Verb::Send => libc::POLLOUT,
        _ => libc::POLLIN,
    };
    opcode::PollAdd::new(Fixed(job.file), u32::from(events.unsigned_abs())).build()
}

/// Ends everything that waits on `file` with ECANCELED.
pub(super) fn cancel(file: u32) -> Entry {
    opcode::AsyncCancel2::new(CancelBuilder::fd(Fixed(file)).all()).build()
}

/// Reads the eventfd `bell` into `count`; done when somebody rang it.
pub(super) fn listen(bell: RawFd, count: *mut u64) -> Entry {
    opcode::Read::new(Fd(bell), count.cast(), 8).build()
}
