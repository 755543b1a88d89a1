//! Grants of other domains through `/dev/xen/gntdev`.
//!
//! A batch of copies is one system call; the kernel makes one hypercall of every 16 operations,
//! one more operation for each page border of the arena that a segment crosses, and pins the
//! arena's pages meanwhile. It also retries GNTST_eagain itself, for 33 s at most, and says
//! GNTST_bad_page then; so nothing is left to retry here.
//!
//! A mapping is made in two steps, a request that names the grants and mmap(2), and undone in two.
//! The kernel does not say which grant of a mapping was refused: that is found out by copying a
//! byte of each, then by mapping each alone.
//!
//! UNSAFETY: addresses of the arena travel inside the segments.
//!
//! Invariant: as [`crate::Grants`] says; no segment leaves the arena or its page.
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]
#![expect(
    unsafe_code,
    reason = "ioctls with addresses; see the head of this file"
)]

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::rc::Rc;

use abi::grant_table::{gntdev_copy, gntst};
use abi::linux::gntdev::{self, GrantCopy, MapHead, Segment, Unmap};
use abi::{DomId, GrantRef, PAGE_SIZE};
use vm_memory::VolatileSlice;

use super::sys::{self, Map};
use super::{Error, sys::ioctl};
use crate::{Access, CopyOp, Direction, GrantStatus, Grants, MapError, Mapped};

const OKAY: GrantStatus = GrantStatus(gntst::OKAY);

/// The grants that this process may use.
#[derive(Debug)]
pub struct Gntdev {
    device: Rc<Device>,
    /// Of the batch under way; kept for its memory.
    segments: Vec<Segment>,
}

/// The open device, shared with what is mapped of it.
#[derive(Debug)]
struct Device {
    file: File,
    system_calls: Cell<u64>,
}

impl Gntdev {
    /// Opens the device.
    pub fn open() -> Result<Self, Error> {
        let device = Device {
            file: sys::open(gntdev::PATH)?,
            system_calls: Cell::new(0),
        };
        Ok(Self {
            device: Rc::new(device),
            segments: Vec::new(),
        })
    }

    /// Fills `segments` with the operations that are in order; the others have their verdict.
    fn collect(&mut self, arena: &VolatileSlice<'_>, ops: &mut [CopyOp]) {
        self.segments.clear();
        for op in ops {
            op.status = match segment(arena, op) {
                Some(segment) => {
                    self.segments.push(segment);
                    OKAY
                }
                None => GrantStatus(gntst::BAD_COPY_ARG),
            };
        }
    }

    /// Which of the grants does not let itself be mapped, and why.
    fn refusal(
        &mut self,
        domid: DomId,
        grefs: &[GrantRef],
        access: Access,
    ) -> Option<(GrantRef, GrantStatus)> {
        let mut byte = [0];
        let probe = |&gref| CopyOp {
            direction: Direction::FromGuest,
            domid,
            gref,
            offset: 0,
            len: 1,
            local: 0,
            status: OKAY,
        };
        let mut probes: Vec<CopyOp> = grefs.iter().map(probe).collect();
        self.copy(VolatileSlice::from(byte.as_mut_slice()), &mut probes);
        if let Some(op) = probes.iter().find(|op| op.status != OKAY) {
            return Some((op.gref, op.status));
        }
        // All can be read. One that cannot be mapped is one that may not be written, where
        // Xen itself says no more than this.
        let mut alone = grefs.iter();
        let refused = alone.find(|gref| match self.device.map(domid, &[**gref], access) {
            Err(Trouble::Refused) => true,
            Ok(_) | Err(Trouble::Os(_)) => false,
        });
        refused.map(|&gref| (gref, GrantStatus(gntst::GENERAL_ERROR)))
    }
}

/// The segment of an operation, if it stays within the arena and its page.
fn segment(arena: &VolatileSlice<'_>, op: &CopyOp) -> Option<Segment> {
    let (offset, len) = (usize::from(op.offset), usize::from(op.len));
    if offset.saturating_add(len) > PAGE_SIZE {
        return None;
    }
    let local = arena.subslice(op.local, len).ok()?;
    let local = local.ptr_guard_mut().as_ptr().expose_provenance() as u64;
    let foreign = gntdev::foreign(op.gref.0, op.offset, op.domid.0);
    let (source, dest, flags) = match op.direction {
        Direction::FromGuest => (foreign, local, gntdev_copy::SOURCE_GREF),
        Direction::ToGuest => (local, foreign, gntdev_copy::DEST_GREF),
    };
    Some(Segment {
        source,
        dest,
        len: op.len,
        flags,
        ..Segment::default()
    })
}

impl Grants for Gntdev {
    fn copy(&mut self, arena: VolatileSlice<'_>, ops: &mut [CopyOp]) {
        self.collect(&arena, ops);
        if self.segments.is_empty() {
            return;
        }
        let result = self.device.copy(&mut self.segments);
        // A call that failed says nothing of any segment.
        let failed = result.is_err().then_some(gntst::GENERAL_ERROR);
        let in_order = ops.iter_mut().filter(|op| op.status == OKAY);
        for (op, segment) in in_order.zip(&self.segments) {
            op.status = GrantStatus(failed.unwrap_or(segment.status));
        }
    }

    fn map(
        &mut self,
        domid: DomId,
        grefs: &[GrantRef],
        access: Access,
    ) -> Result<Box<dyn Mapped>, MapError> {
        let count = grefs.len();
        let os = |source| MapError::Os {
            domid,
            count,
            source,
        };
        match self.device.map(domid, grefs, access) {
            Ok(mapped) => Ok(Box::new(mapped)),
            Err(Trouble::Os(source)) => Err(os(source)),
            Err(Trouble::Refused) => Err(match self.refusal(domid, grefs, access) {
                Some((gref, status)) => MapError::Refused {
                    domid,
                    gref,
                    status,
                },
                None => os(io::ErrorKind::InvalidInput.into()),
            }),
        }
    }

    fn system_calls(&self) -> u64 {
        self.device.system_calls.get()
    }
}

/// Why a mapping was not made.
enum Trouble {
    /// The hypervisor refused one of the grants.
    Refused,
    /// Anything else.
    Os(io::Error),
}

impl Device {
    fn counted(&self) -> &File {
        let calls = self.system_calls.get();
        self.system_calls.set(calls.wrapping_add(1));
        &self.file
    }

    fn copy(&self, segments: &mut [Segment]) -> io::Result<u32> {
        let mut argument = GrantCopy {
            count: u32::try_from(segments.len()).unwrap_or(u32::MAX),
            pad: 0,
            segments: segments.as_mut_ptr().expose_provenance() as u64,
        };
        // SAFETY: `count` segments lie there; their addresses are parts of an arena that the caller
        // has borrowed, as long as `len` says, and accessed volatilely by everybody.
        unsafe { ioctl(self.counted(), gntdev::GRANT_COPY, &mut argument) }
    }

    /// Maps all of `grefs`, or none.
    fn map(
        self: &Rc<Self>,
        domid: DomId,
        grefs: &[GrantRef],
        access: Access,
    ) -> Result<GntMapped, Trouble> {
        let named = self.name(domid, grefs).map_err(Trouble::Os)?;
        let len_bytes = grefs.len().saturating_mul(PAGE_SIZE);
        // On failure `named` is dropped, and the kernel forgets the grants.
        match Map::new(self.counted(), len_bytes, named.index, access) {
            Ok(map) => Ok(GntMapped { map, named }),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Err(Trouble::Refused),
            Err(error) => Err(Trouble::Os(error)),
        }
    }

    /// Tells the kernel of grants that are to be mapped.
    fn name(self: &Rc<Self>, domid: DomId, grefs: &[GrantRef]) -> io::Result<Named> {
        let count = u32::try_from(grefs.len()).map_err(io::Error::other)?;
        if count == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // The head and each reference are pairs of 32 bits: the index is the second pair, low half
        // first.
        let mut argument = vec![[count, 0], [0, 0]];
        argument.extend(grefs.iter().map(|gref| [u32::from(domid.0), gref.0]));
        const _: () = assert!(size_of::<MapHead>() == 16);
        // SAFETY: a head that counts the references behind it; there are no addresses in it.
        unsafe {
            ioctl(
                self.counted(),
                gntdev::MAP_GRANT_REF,
                argument.as_mut_slice(),
            )
        }?;
        let [low, high] = argument.get(1).copied().unwrap_or_default();
        Ok(Named {
            device: self.clone(),
            index: u64::from(low) | u64::from(high) << 32,
            count,
        })
    }
}

/// Mapped grants. The pages go first: the kernel forgets only what is not mapped.
#[derive(Debug)]
struct GntMapped {
    map: Map,
    named: Named,
}

impl Drop for GntMapped {
    fn drop(&mut self) {
        // The munmap that follows.
        self.named.device.counted();
    }
}

impl Mapped for GntMapped {
    fn slice(&self) -> VolatileSlice<'_> {
        self.map.slice()
    }
}

/// Grants that the kernel knows under a file offset, until dropped.
#[derive(Debug)]
struct Named {
    device: Rc<Device>,
    index: u64,
    count: u32,
}

impl Drop for Named {
    fn drop(&mut self) {
        let mut argument = Unmap {
            index: self.index,
            count: self.count,
            pad: 0,
        };
        // SAFETY: no addresses in it.
        let result = unsafe {
            ioctl(
                self.device.counted(),
                gntdev::UNMAP_GRANT_REF,
                &mut argument,
            )
        };
        debug_assert!(result.is_ok(), "unmap of own grants: {result:?}");
    }
}
