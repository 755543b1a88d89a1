//! The upcall: an eventfd that wakes the receiver of an event.
//!
//! Invariant: sending never blocks and never fails for good; many upcalls may become one.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys;

/// Either end of an upcall.
#[derive(Debug)]
pub(super) struct Upcall {
    eventfd: File,
}

impl Upcall {
    /// A new one, whose descriptor does not block.
    pub(super) fn create() -> io::Result<Self> {
        Ok(Self::from(sys::eventfd()?))
    }

    /// One system call. A counter that cannot count further is readable already.
    pub(super) fn send(&self) {
        let sent = (&self.eventfd).write(&1u64.to_ne_bytes());
        debug_assert!(sent.is_ok(), "write to an eventfd: {sent:?}");
    }
}

impl From<OwnedFd> for Upcall {
    fn from(fd: OwnedFd) -> Self {
        Self {
            eventfd: File::from(fd),
        }
    }
}

impl AsFd for Upcall {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}
