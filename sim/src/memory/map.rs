//! Shared mappings of a memory file: the whole of it, or chosen frames side by side.
//!
//! UNSAFETY: this file maps memory and hands out volatile views of it; all other code of the
//! crate reaches shared memory through those views. It knows nothing of guests.
//!
//! Invariant: a mapping stays at its address until dropped, and the file behind it cannot shrink
//! (the callers in [`super`] map sealed files only, within their length).
#![expect(unsafe_code, reason = "maps memory and makes volatile views of it")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::{NonNull, null_mut};

use vm_memory::VolatileSlice;

/// A part of a file: where it starts and how many bytes, both multiples of the page size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) offset: u64,
    pub(super) len: usize,
}

/// Runs of one file, mapped one after the other.
#[derive(Debug)]
pub(super) struct Map {
    start: NonNull<u8>,
    len: usize,
}

impl Map {
    /// Maps `runs` of `file` contiguously.
    pub(super) fn new(file: &File, runs: &[Run], writable: bool) -> io::Result<Self> {
        let map = Self::reserve(runs.iter().map(|run| run.len).sum())?;
        let mut at = 0;
        for run in runs {
            map.place(file, *run, at, writable)?;
            at += run.len;
        }
        Ok(map)
    }

    /// Claims address space, without memory behind it.
    fn reserve(len: usize) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: the kernel chooses the address, so nothing existing is replaced.
        let start = unsafe { libc::mmap(null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { start, len })
    }

    /// Puts a run of the file at byte `at` of the reservation.
    fn place(&self, file: &File, run: Run, at: usize, writable: bool) -> io::Result<()> {
        let protection = if writable {
            libc::PROT_READ | libc::PROT_WRITE
        } else {
            libc::PROT_READ
        };
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        let offset = libc::off_t::try_from(run.offset).map_err(io::Error::other)?;
        // SAFETY: `at` is the sum of the runs before, so it is inside the reservation.
        let address = unsafe { self.start.add(at) }.as_ptr().cast();
        // SAFETY: only pages of our own reservation are replaced: `at + run.len <= self.len`.
        let got = unsafe {
            libc::mmap(
                address,
                run.len,
                protection,
                flags,
                file.as_raw_fd(),
                offset,
            )
        };
        if got == libc::MAP_FAILED {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// The mapped bytes.
    pub(super) fn slice(&self) -> VolatileSlice<'_> {
        // SAFETY: the range stays mapped while `self` lives, which the lifetime ties; everybody
        // accesses it volatilely or atomically, as other processes write to it.
        unsafe { VolatileSlice::new(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the whole reservation is ours, and no view outlives `self`.
        let result = unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert_eq!(result, 0, "munmap of an own mapping");
    }
}

// SAFETY: a `Map` is an address range; access to it is volatile or atomic from any thread.
unsafe impl Send for Map {}
// SAFETY: as above; no method changes the `Map` itself.
unsafe impl Sync for Map {}
