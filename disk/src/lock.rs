//! The lock that keeps an image from being attached twice, and a successor from a predecessor's
//! writes still under way.
//!
//! UNSAFETY: fcntl with the F_OFD commands has no safe form in the standard library.
//!
//! It belongs to the open file description (Linux 3.15), not to a process: it is held until the
//! last descriptor is closed *and* the last request in flight on it has landed, which neither a
//! pid nor a pidfd can tell. A copy of the descriptor kept anywhere is a lock never freed.
//! It knows no path, and looks at other processes only where it is asked to name one
//! ([`held_by`]): a conflict costs the same however many processes there are.
//! Invariant: when [`wait`] returns, no timer and no thread of it is left.

#![expect(unsafe_code, reason = "file locks without a safe form")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use libc::c_int;

mod alarm;
mod holder;

pub use holder::{HeldBy, Holder};

/// How long an image is waited for that changes hands: a rebooting guest's old process drains.
pub const LIMIT: Duration = Duration::from_secs(10);

/// Who else may hold the image at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Other readers.
    Shared,
    /// Nobody. Needs a descriptor open for writing.
    Exclusive,
}

impl Mode {
    /// Shared for readers, exclusive for writers.
    pub fn of(read_only: bool) -> Self {
        if read_only {
            Self::Shared
        } else {
            Self::Exclusive
        }
    }
}

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it; [`held_by`] says who.
    #[error("image is locked by another")]
    Held,
    /// The system refused: a file system without locks, a descriptor without write access.
    #[error("locking the image: {0}")]
    Os(io::Error),
}

/// Takes the lock if it is free.
pub fn take(fd: BorrowedFd<'_>, mode: Mode) -> Result<(), LockError> {
    match set(fd, mode, libc::F_OFD_SETLK) {
        Ok(()) => Ok(()),
        Err(error) if is_conflict(&error) => Err(LockError::Held),
        Err(error) => Err(LockError::Os(error)),
    }
}

/// Takes the lock, sleeping in the calling thread until it is free, `limit` at most.
///
/// The thread sleeps in one system call, which a timer's signal ends at the limit. Call it from a
/// thread that has nothing else to do, and that has no use for `SIGRTMIN + 3`.
pub fn wait(fd: BorrowedFd<'_>, mode: Mode, limit: Duration) -> Result<(), LockError> {
    match set(fd, mode, libc::F_OFD_SETLK) {
        Ok(()) => return Ok(()),
        Err(error) if is_conflict(&error) => {}
        Err(error) => return Err(LockError::Os(error)),
    }
    if sleep(fd, mode, limit).map_err(LockError::Os)? {
        Ok(())
    } else {
        Err(LockError::Held)
    }
}

/// Sleeps for the lock; whether it was had before the limit.
fn sleep(fd: BorrowedFd<'_>, mode: Mode, limit: Duration) -> io::Result<bool> {
    let started = Instant::now();
    let _alarm = alarm::Alarm::after(limit)?;
    loop {
        match set(fd, mode, libc::F_OFD_SETLKW) {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Err(_) if started.elapsed() >= limit => return Ok(false),
            // Some other signal of the process.
            Err(_) => {}
        }
    }
}

/// Whether a process holds the image so that it stands in the way of `mode`. One that cannot be
/// looked at does not.
#[must_use]
pub fn is_held_by(pid: u32, fd: BorrowedFd<'_>, mode: Mode) -> bool {
    holder::is_held_by(pid, fd, mode)
}

/// Who holds the image so that it stands in the way of `mode`, for a message. It looks at every
/// process, so it is for those alone who are about to give up.
#[must_use]
pub fn held_by(fd: BorrowedFd<'_>, mode: Mode) -> HeldBy {
    HeldBy(holder::find(fd, mode))
}

/// POSIX leaves the choice between the two to the system.
fn is_conflict(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES))
}

/// Locks the whole file, however long it grows.
fn set(fd: BorrowedFd<'_>, mode: Mode, command: c_int) -> io::Result<()> {
    let lock = whole_file(mode);
    // SAFETY: the F_OFD lock commands read one `struct flock`, which is ours.
    match unsafe { libc::fcntl(fd.as_raw_fd(), command, &raw const lock) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "F_RDLCK and F_WRLCK are 0 and 1"
)]
fn whole_file(mode: Mode) -> libc::flock {
    let kind = match mode {
        Mode::Shared => libc::F_RDLCK,
        Mode::Exclusive => libc::F_WRLCK,
    };
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        // Anything else is refused by the F_OFD commands.
        l_pid: 0,
    }
}
