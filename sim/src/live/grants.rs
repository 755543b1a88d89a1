//! Grants of the live simulation, as a backend process uses them.
//!
//! A copy checks the guest's entry and moves the bytes through the kernel with `pread` or
//! `pwrite` on the guest's memory file: one system call for each segment. A map asks the host
//! process to pin the entries and then maps the frames; unmapping lets the host unpin them.
//!
//! Invariant: as [`xen::Grants`] says; no segment leaves the arena or its page.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use std::io;
use std::sync::Arc;

use abi::grant_table::gntst;
use abi::{DomId, Gfn, GrantRef, PAGE_SIZE};
use vm_memory::VolatileSlice;
use xen::{Access, CopyOp, Direction, GrantStatus, Grants, MapError, Mapped};

use super::client::Connection;
use super::meter::Meter;
use super::wire::{MAP_MAX, Reply, Request};
use super::{Error, Price};
use crate::grants::Entries;
use crate::memory::{Region, Window};
use crate::sys;

/// The grants of one guest, seen from a backend that serves it.
#[derive(Debug)]
pub struct LiveGrants {
    connection: Arc<Connection>,
    domid: DomId,
    memory: Region,
    entries: Entries,
    meter: Meter,
    batches: u64,
    segments: u64,
}

impl LiveGrants {
    pub(super) fn new(
        connection: Arc<Connection>,
        domid: DomId,
        memory: Region,
        entries: Entries,
        price: Price,
    ) -> Self {
        let meter = Meter::new(price);
        Self {
            connection,
            domid,
            memory,
            entries,
            meter,
            batches: 0,
            segments: 0,
        }
    }

    /// Batches copied so far: on Linux, one system call each.
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// Segments copied so far.
    pub fn segments(&self) -> u64 {
        self.segments
    }

    fn copy_one(&mut self, arena: &VolatileSlice<'_>, op: &CopyOp) -> GrantStatus {
        self.segments = self.segments.saturating_add(1);
        match self.checked(arena, op) {
            Ok((local, at)) => self.transfer(op.direction, &local, at),
            Err(status) => status,
        }
    }

    /// The arena's bytes and the position in the guest's memory, if the segment is in order.
    fn checked<'a>(
        &self,
        arena: &VolatileSlice<'a>,
        op: &CopyOp,
    ) -> Result<(VolatileSlice<'a>, u64), GrantStatus> {
        let refused = GrantStatus;
        let (offset, len) = (usize::from(op.offset), usize::from(op.len));
        if offset.saturating_add(len) > PAGE_SIZE {
            return Err(refused(gntst::BAD_COPY_ARG));
        }
        let local = arena
            .subslice(op.local, len)
            .map_err(|_| refused(gntst::BAD_COPY_ARG))?;
        if op.domid != self.domid {
            return Err(refused(gntst::BAD_DOMAIN));
        }
        let access = match op.direction {
            Direction::FromGuest => Access::ReadOnly,
            Direction::ToGuest => Access::ReadWrite,
        };
        let gfn = self.entries.check(DomId::DOM0, op.gref, access)?;
        let page = gfn
            .0
            .checked_mul(PAGE_SIZE as u64)
            .ok_or(refused(gntst::BAD_PAGE))?;
        Ok((local, page.saturating_add(u64::from(op.offset))))
    }

    /// One system call. The memory file is sealed and the frame lies inside, so it is not short.
    fn transfer(&mut self, way: Direction, local: &VolatileSlice<'_>, at: u64) -> GrantStatus {
        self.meter.system_call();
        let moved = match way {
            Direction::FromGuest => sys::pread(self.memory.file(), local, at),
            Direction::ToGuest => sys::pwrite(self.memory.file(), local, at),
        };
        match moved {
            Ok(n) if n == local.len() => GrantStatus(gntst::OKAY),
            _ => GrantStatus(gntst::GENERAL_ERROR),
        }
    }
}

impl Grants for LiveGrants {
    fn copy(&mut self, arena: VolatileSlice<'_>, ops: &mut [CopyOp]) {
        if ops.is_empty() {
            return;
        }
        self.batches = self.batches.saturating_add(1);
        self.meter.charge();
        for op in ops {
            op.status = self.copy_one(&arena, op);
        }
    }

    fn map(
        &mut self,
        domid: DomId,
        grefs: &[GrantRef],
        access: Access,
    ) -> Result<Box<dyn Mapped>, MapError> {
        let os = |source| MapError::Os {
            domid,
            count: grefs.len(),
            source,
        };
        let Some(&first) = grefs.first().filter(|_| grefs.len() <= MAP_MAX) else {
            return Err(os(io::ErrorKind::InvalidInput.into()));
        };
        if domid != self.domid {
            let status = GrantStatus(gntst::BAD_DOMAIN);
            return Err(MapError::Refused {
                domid,
                gref: first,
                status,
            });
        }
        let writable = access == Access::ReadWrite;
        let request = Request::Map {
            domid: domid.0,
            grefs: grefs.iter().map(|gref| gref.0).collect(),
            writable,
        };
        self.meter.hypercall();
        match self.connection.call(request).map(|(reply, _)| reply) {
            Ok(Reply::Mapped { handle, gfns }) => {
                let pin = Pin {
                    connection: self.connection.clone(),
                    handle,
                };
                let gfns: Vec<Gfn> = gfns.into_iter().map(Gfn).collect();
                let window = self.memory.map_frames(&gfns, writable).map_err(os)?;
                Ok(Box::new(LiveMapped { window, _pin: pin }))
            }
            Ok(Reply::Refused { gref, status }) => Err(MapError::Refused {
                domid,
                gref: GrantRef(gref),
                status: GrantStatus(status),
            }),
            Ok(_) => Err(os(Error::Confused.into_io())),
            Err(error) => Err(os(error.into_io())),
        }
    }

    fn system_calls(&self) -> u64 {
        self.meter.system_calls()
    }
}

/// Mapped frames. The window goes first: no page is reachable once the host has unpinned it.
#[derive(Debug)]
struct LiveMapped {
    window: Window,
    _pin: Pin,
}

impl Mapped for LiveMapped {
    fn slice(&self) -> VolatileSlice<'_> {
        self.window.slice()
    }
}

/// The host's pins on the entries behind a mapping, released when dropped.
#[derive(Debug)]
struct Pin {
    connection: Arc<Connection>,
    handle: u64,
}

impl Drop for Pin {
    fn drop(&mut self) {
        // If the host is gone, so are its pins.
        drop(self.connection.call(Request::Unmap {
            handle: self.handle,
        }));
    }
}
