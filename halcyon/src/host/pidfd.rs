//! A descriptor that says when a process has ended, whosever child it is.
//!
//! UNSAFETY: one system call without a stable wrapper.
//!
//! Invariant: the descriptor means the process that had the number when it was asked for; whether
//! that is the one that was meant is for the caller to check afterwards.

#![expect(unsafe_code, reason = "a system call without a safe wrapper")]

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

/// Opens the process `pid`, close-on-exec. Readable once it has ended.
pub(super) fn open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = libc::c_int::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above just returned it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
