//! The system calls that tell what an open file is.
//!
//! UNSAFETY: ioctl, fcntl, statx and fstatfs have no safe form in the standard library. Each is
//! given a descriptor that is borrowed for the call and memory of this stack frame.
//! It knows nothing of images; what the numbers mean is [`crate::probe`]'s business.
//! Invariant: no call here reads or writes the file's data.

#![expect(unsafe_code, reason = "system calls without a safe form")]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

use libc::c_int;
use vmm_sys_util::ioctl::ioctl_with_mut_ref;
use vmm_sys_util::{ioctl_io_nr, ioctl_ior_nr};

// `linux/fs.h`. BLKSSZGET and BLKPBSZGET are _IO there, although they answer through a pointer.
ioctl_ior_nr!(BLKGETSIZE64, 0x12, 114, usize);
ioctl_io_nr!(BLKSSZGET, 0x12, 104);
ioctl_io_nr!(BLKPBSZGET, 0x12, 123);
ioctl_io_nr!(BLKROGET, 0x12, 94);

/// What a block device says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Device {
    pub(crate) size_bytes: u64,
    pub(crate) sector_size_bytes: u32,
    pub(crate) physical_sector_size_bytes: u32,
    pub(crate) read_only: bool,
}

/// The alignment that O_DIRECT asks for on a regular file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirectAlign {
    pub(crate) memory: u32,
    pub(crate) offset: u32,
    /// For reads, where the file system tells it apart (Linux 6.15, XFS).
    pub(crate) read_offset: Option<u32>,
}

/// Asks a block device for its size and shape.
pub(crate) fn device(file: &File) -> io::Result<Device> {
    Ok(Device {
        size_bytes: ask(file, BLKGETSIZE64(), 0_u64)?,
        sector_size_bytes: ask(file, BLKSSZGET(), 0_u32)?,
        physical_sector_size_bytes: ask(file, BLKPBSZGET(), 0_u32)?,
        read_only: ask(file, BLKROGET(), 0_u32)? != 0,
    })
}

fn ask<T>(file: &File, request: libc::c_ulong, mut answer: T) -> io::Result<T> {
    // SAFETY: each request above writes one integer of T's size through the pointer, which is ours.
    let result = unsafe { ioctl_with_mut_ref(file, request, &mut answer) };
    check(result).map(|_| answer)
}

/// The flags of the open file description.
pub(crate) fn flags(file: &File) -> io::Result<c_int> {
    // SAFETY: F_GETFL takes no pointer.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) })
}

/// Replaces the changeable flags of the open file description.
pub(crate) fn set_flags(file: &File, flags: c_int) -> io::Result<()> {
    // SAFETY: F_SETFL takes an integer.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags) }).map(drop)
}

/// A file system that images are treated differently on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileSystem {
    /// tmpfs or ramfs: the bytes live in memory alone, and O_DIRECT means nothing.
    Memory,
    Xfs,
    Btrfs,
    Other,
}

/// Which file system the file is on, by the numbers of `linux/magic.h`.
pub(crate) fn file_system(file: &File) -> io::Result<FileSystem> {
    let mut answer = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the pointer is to a statfs of this frame.
    check(unsafe { libc::fstatfs(file.as_raw_fd(), answer.as_mut_ptr()) })?;
    // SAFETY: all zeroes is a valid statfs, and the call has filled it.
    let kind = unsafe { answer.assume_init() }.f_type;
    Ok(match u64::try_from(kind).unwrap_or(0) {
        0x0102_1994 | 0x8584_58F6 => FileSystem::Memory,
        0x5846_5342 => FileSystem::Xfs,
        0x9123_683E => FileSystem::Btrfs,
        _ => FileSystem::Other,
    })
}

/// The alignment of O_DIRECT on a regular file, where kernel (6.1) and file system tell it.
/// `Some` with zeroes says that the file cannot do it at all.
pub(crate) fn direct_align(file: &File) -> io::Result<Option<DirectAlign>> {
    let mask = libc::STATX_DIOALIGN | libc::STATX_DIO_READ_ALIGN;
    let answer = statx(file, mask)?;
    let told = |bit: u32| answer.stx_mask & bit != 0;
    let read_offset = told(libc::STATX_DIO_READ_ALIGN).then_some(answer.stx_dio_read_offset_align);
    Ok(told(libc::STATX_DIOALIGN).then_some(DirectAlign {
        memory: answer.stx_dio_mem_align,
        offset: answer.stx_dio_offset_align,
        read_offset,
    }))
}

fn statx(file: &File, mask: u32) -> io::Result<libc::statx> {
    let mut answer = MaybeUninit::<libc::statx>::zeroed();
    let (fd, flags) = (file.as_raw_fd(), libc::AT_EMPTY_PATH);
    // SAFETY: the path is a NUL-terminated literal, the answer a statx of this frame.
    check(unsafe { libc::statx(fd, c"".as_ptr(), flags, mask, answer.as_mut_ptr()) })?;
    // SAFETY: all zeroes is a valid statx, and the call has filled it.
    Ok(unsafe { answer.assume_init() })
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
