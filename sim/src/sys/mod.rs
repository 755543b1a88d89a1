//! The system calls of the simulator that no dependency wraps.
//!
//! UNSAFETY: every function here is one call into libc with arguments that live on its own stack
//! or are borrowed for its duration. It knows nothing of domains, grants or events.
//!
//! Invariant: every descriptor that enters the process through here is close-on-exec and owned.
#![expect(unsafe_code, reason = "system calls without a safe wrapper")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use vm_memory::VolatileSlice;

pub(crate) mod socket;

/// The seals of every memory that processes share here: nobody can pull pages from under a
/// mapping (SIGBUS), and nobody can move the end.
const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// Turns the -1 of libc into the error that errno names.
pub(crate) fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// A sparse memory file of `len_bytes`, sealed against shrinking and growing.
pub(crate) fn sealed_memfd(len_bytes: u64) -> io::Result<File> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a constant C string.
    let fd = checked(unsafe { libc::memfd_create(c"halcyon-sim".as_ptr(), flags) })?;
    // SAFETY: the descriptor is new and nobody else's.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    file.set_len(len_bytes)?;
    // SAFETY: F_ADD_SEALS takes an integer.
    checked(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, SEALS) })?;
    Ok(file)
}

/// Refuses a file that somebody could still shrink.
pub(crate) fn require_sealed(file: &File) -> io::Result<()> {
    // SAFETY: F_GET_SEALS takes no argument.
    let seals = checked(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) })?;
    let wanted = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;
    if seals & wanted == wanted {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "shared memory is not sealed",
        ))
    }
}

/// One positioned read into memory that others may write to meanwhile.
pub(crate) fn pread(file: &File, to: &VolatileSlice<'_>, offset: u64) -> io::Result<usize> {
    let guard = to.ptr_guard_mut();
    let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
    // SAFETY: the guard spans `to.len()` writable bytes; the kernel does the writing.
    let n = unsafe { libc::pread(file.as_raw_fd(), guard.as_ptr().cast(), to.len(), offset) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// One positioned write from memory that others may write to meanwhile.
pub(crate) fn pwrite(file: &File, from: &VolatileSlice<'_>, offset: u64) -> io::Result<usize> {
    let guard = from.ptr_guard();
    let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
    // SAFETY: the guard spans `from.len()` readable bytes; the kernel does the reading.
    let n = unsafe { libc::pwrite(file.as_raw_fd(), guard.as_ptr().cast(), from.len(), offset) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// A counter that starts at 0 and never blocks.
pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: `eventfd` takes integers.
    let fd = checked(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) })?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Raises the limit of open files of this process as far as it may.
pub(crate) fn raise_open_files() -> io::Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one rlimit.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads one rlimit.
    checked(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(())
}
