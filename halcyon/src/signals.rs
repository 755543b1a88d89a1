//! SIGTERM, SIGINT and SIGHUP as something to read or to wait for, so that no handler is needed.
//!
//! UNSAFETY: calls of the C library, which has no safe wrapper among our dependencies. It
//! knows nothing of what the signals lead to.
//!
//! Invariant: after [`block`] or [`descriptor`] the three signals are blocked in this thread and in
//! every thread it starts, and pending ones wait.

#![expect(
    unsafe_code,
    reason = "signal sets and signalfd are calls of the C library"
)]

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

/// SIGHUP is how libxl ends a device model.
const STOP_SIGNALS: [libc::c_int; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// Blocks the three signals in this thread and in those it starts.
pub fn block() -> io::Result<()> {
    mask(libc::SIG_BLOCK)
}

/// Lets the three signals end the process, whatever the one who started it had blocked: a mask is
/// inherited.
pub fn accept() -> io::Result<()> {
    mask(libc::SIG_UNBLOCK)
}

/// As [`accept`], and whatever that one ignored: what is ignored is inherited, too, from `nohup` for
/// one. Not for what is to outlive its terminal.
pub fn obey() -> io::Result<()> {
    for signal in STOP_SIGNALS {
        // SAFETY: plain values; the default action is no code of ours.
        if unsafe { libc::signal(signal, libc::SIG_DFL) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    accept()
}

fn mask(how: libc::c_int) -> io::Result<()> {
    let set = stop_signals()?;
    // SAFETY: `set` is initialised, and no old mask is asked for.
    match unsafe { libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut()) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Blocks the three signals and returns the non-blocking descriptor that they can be read from.
pub fn descriptor() -> io::Result<OwnedFd> {
    block()?;
    let set = stop_signals()?;
    // SAFETY: `set` is initialised; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above just returned it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sleeps until one of the three signals, blocked before, arrives.
pub fn wait() -> io::Result<()> {
    let set = stop_signals()?;
    let mut signal = 0;
    // SAFETY: both pointers are to values of this frame.
    match unsafe { libc::sigwait(&raw const set, &raw mut signal) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

fn stop_signals() -> io::Result<libc::sigset_t> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the pointer is valid for writes of a sigset_t.
    if unsafe { libc::sigemptyset(set.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: sigemptyset initialised it.
    let mut set = unsafe { set.assume_init() };
    for signal in STOP_SIGNALS {
        // SAFETY: `set` is initialised.
        if unsafe { libc::sigaddset(&raw mut set, signal) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(set)
}
