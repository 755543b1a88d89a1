//! The system calls that Rust has no words for: ioctl, mmap and poll on the Xen devices.
//!
//! UNSAFETY: this file maps memory that other domains write to and hands out volatile views of
//! it, and passes addresses of structures to the kernel.
//!
//! Invariant: a mapping stays at its address until dropped.
#![expect(unsafe_code, reason = "ioctl, mmap, poll; see the head of this file")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr::{NonNull, null_mut};

use vm_memory::VolatileSlice;

use super::Error;
use crate::Access;

/// Opens one of the devices for all that it does.
pub(super) fn open(path: &'static str) -> Result<File, Error> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    file.map_err(|source| Error::open(path, source))
}

/// One ioctl; what it returned if that is not negative.
///
/// # Safety
/// `argument` starts the structure that the driver's header gives for `request`, whole: of the
/// right size, and every address in it valid for what the driver does there.
pub(super) unsafe fn ioctl<T: ?Sized>(
    file: &File,
    request: u32,
    argument: &mut T,
) -> io::Result<u32> {
    let address = std::ptr::from_mut(argument).cast::<libc::c_void>();
    // SAFETY: the caller vouches for the structure, which is borrowed for the length of the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::Ioctl::from(request), address) };
    u32::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Sleeps until `fd` can be read.
pub(super) fn wait_readable(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut poll = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one structure, and the count says so.
    match unsafe { libc::poll(&raw mut poll, 1, -1) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Memory of a device, shared with other domains, until dropped.
#[derive(Debug)]
pub struct Map {
    start: NonNull<u8>,
    len_bytes: usize,
}

impl Map {
    /// Maps `len_bytes` from byte `offset` of the device on.
    pub(super) fn new(
        file: &File,
        len_bytes: usize,
        offset: u64,
        access: Access,
    ) -> io::Result<Self> {
        let protection = match access {
            Access::ReadOnly => libc::PROT_READ,
            Access::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        };
        let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
        let (flags, fd) = (libc::MAP_SHARED, file.as_raw_fd());
        // SAFETY: the kernel chooses the address, so nothing existing is replaced.
        let start = unsafe { libc::mmap(null_mut(), len_bytes, protection, flags, fd, offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { start, len_bytes })
    }

    /// The mapped bytes.
    pub fn slice(&self) -> VolatileSlice<'_> {
        // SAFETY: the range stays mapped while `self` lives, which the lifetime ties; everybody
        // accesses it volatilely or atomically, as other domains write to it.
        unsafe { VolatileSlice::new(self.start.as_ptr(), self.len_bytes) }
    }

    /// Its address, for the kernel.
    pub(super) fn address(&self) -> u64 {
        self.start.as_ptr().expose_provenance() as u64
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the whole range is ours, and no view outlives `self`.
        let result = unsafe { libc::munmap(self.start.as_ptr().cast(), self.len_bytes) };
        debug_assert_eq!(result, 0, "munmap of an own mapping");
    }
}
