//! A socket that our parent opened for us: a number on the command line becomes a descriptor.
//!
//! UNSAFETY: taking a number for a descriptor that we own is sound only if nobody else in the
//! process owns it. Invariant: each number is taken once, before the process has opened anything
//! that the command line could name by mistake.

#![expect(
    unsafe_code,
    reason = "the number of an inherited descriptor; see the head of this file"
)]

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

/// The descriptors that every process starts with; log lines go there.
const STANDARD: std::ops::RangeInclusive<RawFd> = 0..=2;

/// Takes descriptor `fd` over, and keeps it from programs that we may start.
pub(super) fn take(fd: RawFd) -> io::Result<OwnedFd> {
    if STANDARD.contains(&fd) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: plain values; a number that is no descriptor is answered with EBADF.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and by the invariant above nobody else in this process has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
