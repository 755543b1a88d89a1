//! The system calls that a reactor makes beside its ring, each as one function.
//!
//! Knows no table and no policy.
//!
//! UNSAFETY: system calls. Those that move data are unsafe to call, for only the owner of the
//! memory can vouch for it; the others take and return plain values.
#![expect(unsafe_code, reason = "system calls; see the head of this file")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use crate::Nanos;

/// CLOCK_MONOTONIC; answered by the vDSO, without a system call.
pub(super) fn monotonic_ns() -> Nanos {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the pointer is to a timespec of ours.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, time.as_mut_ptr()) };
    // SAFETY: zeroed is a valid timespec, whatever the call did.
    let time = unsafe { time.assume_init() };
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or(0) * 1_000_000_000 + nanos.unwrap_or(0)
}

/// Makes reads and writes of `fd` answer EAGAIN where they would wait.
pub(super) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain values.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: plain values.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    Ok(())
}

/// Whether the file lives in memory alone (tmpfs, memfd), where RWF_NOWAIT is refused but nothing
/// waits for a disk either. The node of a device lies on such a file system too (devtmpfs), and says
/// nothing about the device.
pub(super) fn is_memory_backed(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the pointer is to a stat of ours.
    check(unsafe { libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()) })?;
    // SAFETY: zeroed is a valid stat, and the call succeeded.
    let is_file = unsafe { stat.assume_init() }.st_mode & libc::S_IFMT == libc::S_IFREG;
    let mut stat = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the pointer is to a statfs of ours.
    check(unsafe { libc::fstatfs(fd.as_raw_fd(), stat.as_mut_ptr()) })?;
    // SAFETY: zeroed is a valid statfs, and the call succeeded.
    Ok(is_file && unsafe { stat.assume_init() }.f_type == libc::TMPFS_MAGIC)
}

/// Releases the open-file-description locks of `fd`, at once and for all its duplicates.
pub(super) fn unlock(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut lock = MaybeUninit::<libc::flock>::zeroed();
    // SAFETY: zeroed is a valid flock: the whole file, from its start.
    let lock = unsafe { lock.assume_init_mut() };
    lock.l_type = libc::c_short::try_from(libc::F_UNLCK).map_err(io::Error::other)?;
    // SAFETY: the pointer is to a flock of ours.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, std::ptr::from_mut(lock)) })?;
    Ok(())
}

/// Makes what was written to `fd` durable. Waits for the disk.
pub(super) fn sync(fd: RawFd) -> Result<usize, i32> {
    // SAFETY: plain values; a descriptor that is not open is answered with EBADF.
    match unsafe { libc::fdatasync(fd) } {
        0 => Ok(0),
        _ => Err(last_errno()),
    }
}

/// preadv2(2) with one part.
///
/// # Safety
/// `len` bytes from `start` are writable, and stay so until this returns.
pub(super) unsafe fn read_at(
    fd: RawFd,
    start: *mut u8,
    len: usize,
    offset: u64,
    flags: i32,
) -> Result<usize, i32> {
    let part = libc::iovec {
        iov_base: start.cast(),
        iov_len: len,
    };
    let offset = i64::try_from(offset).map_err(|_| libc::EINVAL)?;
    // SAFETY: the caller vouches for the memory; the iovec is ours.
    moved(unsafe { libc::preadv2(fd, &raw const part, 1, offset, flags) })
}

/// pwritev2(2) with one part.
///
/// # Safety
/// `len` bytes from `start` are readable, and stay so until this returns.
pub(super) unsafe fn write_at(
    fd: RawFd,
    start: *mut u8,
    len: usize,
    offset: u64,
    flags: i32,
) -> Result<usize, i32> {
    let part = libc::iovec {
        iov_base: start.cast(),
        iov_len: len,
    };
    let offset = i64::try_from(offset).map_err(|_| libc::EINVAL)?;
    // SAFETY: the caller vouches for the memory; the iovec is ours.
    moved(unsafe { libc::pwritev2(fd, &raw const part, 1, offset, flags) })
}

/// read(2).
///
/// # Safety
/// As [`read_at`].
pub(super) unsafe fn read(fd: RawFd, start: *mut u8, len: usize) -> Result<usize, i32> {
    // SAFETY: the caller vouches for the memory.
    moved(unsafe { libc::read(fd, start.cast(), len) })
}

/// write(2).
///
/// # Safety
/// As [`write_at`].
pub(super) unsafe fn write(fd: RawFd, start: *mut u8, len: usize) -> Result<usize, i32> {
    // SAFETY: the caller vouches for the memory.
    moved(unsafe { libc::write(fd, start.cast_const().cast(), len) })
}

fn check(returned: i32) -> io::Result<i32> {
    if returned < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(returned)
    }
}

/// Bytes moved, or errno, from what a call just returned.
fn moved(returned: isize) -> Result<usize, i32> {
    usize::try_from(returned).map_err(|_| last_errno())
}

fn last_errno() -> i32 {
    io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
}
