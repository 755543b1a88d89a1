//! One operation as the kernel wants it: a descriptor, an address, an offset. What is in the
//! in-flight table is the operation; a job is a view of it that fits through a system call or to
//! another thread.
//!
//! UNSAFETY: a job carries the address of memory that it does not own. Only the reactor makes
//! jobs, and it keeps the operation, and so the lease, until the last result of the job is there.
#![expect(
    unsafe_code,
    reason = "memory lent by another; see the head of this file"
)]

use std::os::fd::RawFd;

use super::inflight::{Id, Operation};
use super::sys;
use crate::Verb;

/// See the head of this file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) id: Id,
    /// Index of the file in the ring's table and in ours.
    pub(super) file: u32,
    /// Its descriptor.
    fd: RawFd,
    pub(super) verb: Verb,
    pub(super) start: *mut u8,
    pub(super) len_bytes: u32,
    pub(super) offset: u64,
}

// SAFETY: plain values; that the memory behind the address may be written from another thread is
// what the maker of the job vouched for.
unsafe impl Send for Job {}

impl Job {
    /// # Safety
    /// Until the result of the job is there: the lease of `operation` stays lent, `fd` stays open,
    /// and other Rust code touches the memory through volatile views alone.
    pub(super) unsafe fn new(id: Id, operation: &Operation, fd: RawFd) -> Self {
        let submission = &operation.submission;
        let part = submission.lease.as_ref().and_then(|lease| {
            lease
                .slice()
                .subslice(submission.range.start, submission.range.len())
                .ok()
        });
        Self {
            id,
            file: operation.file,
            fd,
            verb: submission.verb,
            start: part
                .as_ref()
                .map_or(std::ptr::null_mut(), |part| part.ptr_guard_mut().as_ptr()),
            // A transfer of 4 GiB or more is cut short, as a kernel would.
            len_bytes: part.map_or(0, |part| u32::try_from(part.len()).unwrap_or(u32::MAX)),
            offset: submission.offset,
        }
    }

    /// Does it, however long that takes.
    pub(super) fn wait(&self) -> Result<usize, i32> {
        loop {
            match self.attempt(0) {
                Err(libc::EINTR) => {}
                result => return result,
            }
        }
    }

    /// Does it once. `flags` are those of preadv2, for images; streams were made nonblocking.
    pub(super) fn attempt(&self, flags: i32) -> Result<usize, i32> {
        let (fd, start, len) = (self.fd, self.start, self.len_bytes as usize);
        match self.verb {
            Verb::Sync => sys::sync(fd),
            // Whoever asks has been told by the ring.
            Verb::Ready => Ok(0),
            // SAFETY: of all four: whoever made the job vouched for its memory.
            Verb::ReadAt => unsafe { sys::read_at(fd, start, len, self.offset, flags) },
            // SAFETY: as above.
            Verb::WriteAt => unsafe { sys::write_at(fd, start, len, self.offset, flags) },
            // SAFETY: as above.
            Verb::Receive => unsafe { sys::read(fd, start, len) },
            // SAFETY: as above.
            Verb::Send => unsafe { sys::write(fd, start, len) },
        }
    }
}
