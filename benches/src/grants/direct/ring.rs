//! One io_uring, one disk and one mapping that it reads into or writes from.
//!
//! It knows nothing of what is read or written.
//!
//! UNSAFETY: entries and registrations name the mapping by its address. The ring is dropped before the
//! mapping, and at most one entry is under way, whose end is waited for. Registered pages are given back
//! by an explicit call: a ring that is closed does that later, and Linux 6.12 does not survive it.
#![expect(unsafe_code, reason = "io_uring entries; see the head of this file")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

use io_uring::{IoUring, opcode, types};
use xen::Mapped;

/// Which way the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the disk into the mapping.
    Read,
    /// From the mapping to the disk.
    Write,
}

/// How the kernel gets hold of the mapping's pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Buffers {
    /// For each request.
    Plain,
    /// Once, when registered.
    Registered,
}

/// See the head of this file; the fields are dropped in this order.
pub(super) struct Ring {
    ring: IoUring,
    disk: File,
    mapped: Box<dyn Mapped>,
}

impl Ring {
    pub(super) fn new(disk: File, mapped: Box<dyn Mapped>) -> io::Result<Self> {
        Ok(Self {
            ring: IoUring::new(1)?,
            disk,
            mapped,
        })
    }

    /// Registers the mapping as buffer 0.
    pub(super) fn register(&self) -> io::Result<()> {
        let (start, len) = self.range();
        let buffer = libc::iovec {
            iov_base: start.cast(),
            iov_len: len,
        };
        // SAFETY: the range stays mapped until the ring is gone.
        unsafe { self.ring.submitter().register_buffers(&[buffer]) }
    }

    /// Gives the pages back.
    pub(super) fn unregister(&self) -> io::Result<()> {
        self.ring.submitter().unregister_buffers()
    }

    /// One request over the whole mapping, from the start of the disk. The inner result is the
    /// request's own.
    pub(super) fn transfer(&mut self, way: Way, buffers: Buffers) -> io::Result<io::Result<usize>> {
        self.start(way, buffers)?;
        while self.ring.completion().is_empty() {
            match self.ring.submit_and_wait(1) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
        let entry = self.ring.completion().next();
        let result = entry.map_or(0, |entry| entry.result());
        Ok(usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result)))
    }

    /// Starts a request. Whoever does not wait for it ends the process.
    pub(super) fn start(&mut self, way: Way, buffers: Buffers) -> io::Result<()> {
        let (start, len) = self.range();
        let fd = types::Fd(self.disk.as_raw_fd());
        let bytes = u32::try_from(len).map_err(io::Error::other)?;
        let entry = match (way, buffers) {
            (Way::Read, Buffers::Plain) => opcode::Read::new(fd, start, bytes).build(),
            (Way::Write, Buffers::Plain) => opcode::Write::new(fd, start, bytes).build(),
            (Way::Read, Buffers::Registered) => opcode::ReadFixed::new(fd, start, bytes, 0).build(),
            (Way::Write, Buffers::Registered) => {
                opcode::WriteFixed::new(fd, start, bytes, 0).build()
            }
        };
        // SAFETY: the range stays mapped until the entry's end was waited for, or the process ends.
        unsafe { self.ring.submission().push(&entry) }.map_err(io::Error::other)?;
        self.ring.submit().map(drop)
    }

    fn range(&self) -> (*mut u8, usize) {
        let slice = self.mapped.slice();
        (slice.ptr_guard_mut().as_ptr(), slice.len())
    }
}
