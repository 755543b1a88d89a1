//! SIGTERM and SIGINT as a descriptor, so that they arrive where everything else arrives.
//!
//! UNSAFETY: three calls of the C library, which has no safe wrapper among our dependencies. It
//! knows nothing of what the signals lead to.
//!
//! Invariant: after [`descriptor`] the two signals are blocked in this thread and in every thread
//! it starts, and pending ones wait in the descriptor.

#![expect(unsafe_code, reason = "signal sets and signalfd are calls of the C library")]

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

/// Bytes of one `struct signalfd_siginfo`: what one read must have room for.
pub const RECORD_BYTES: usize = 128;

/// Blocks SIGTERM and SIGINT and returns the non-blocking descriptor that they can be read from.
pub fn descriptor() -> io::Result<OwnedFd> {
    let set = stop_signals()?;
    // SAFETY: `set` is initialised, and no old mask is asked for.
    let blocked = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    if blocked != 0 {
        return Err(io::Error::from_raw_os_error(blocked));
    }
    // SAFETY: `set` is initialised; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above just returned it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn stop_signals() -> io::Result<libc::sigset_t> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the pointer is valid for writes of a sigset_t.
    if unsafe { libc::sigemptyset(set.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: sigemptyset initialised it.
    let mut set = unsafe { set.assume_init() };
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: `set` is initialised.
        if unsafe { libc::sigaddset(&raw mut set, signal) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(set)
}
