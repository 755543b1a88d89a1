//! Disks without storage: [`Null`] forgets what it is told, [`Ram`] remembers it in memory.
//!
//! They know no file and need no reactor: every operation has ended when it was submitted.
//! Invariant: nothing is ever outstanding.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use abi::Sector;
use reactor::{Completion, Reactor};
use vm_memory::{Bytes, VolatileSlice};

use crate::{Disk, DiskError, Done, Geometry, Op, OpKind, Submitted};

/// Zeroes to copy from, a page at a time.
static ZEROES: [u8; abi::PAGE_SIZE] = [0; abi::PAGE_SIZE];

/// Discards writes and reads zeroes: what a backend costs by itself.
#[derive(Debug)]
pub struct Null {
    geometry: Geometry,
}

/// A disk in memory. Untouched parts of it take none.
#[derive(Debug)]
pub struct Ram {
    geometry: Geometry,
    bytes: Vec<u8>,
}

impl Geometry {
    /// A writable disk of 512-byte sectors that accepts flushes.
    pub fn of_sectors(sectors: Sector) -> Self {
        Self {
            sectors,
            sector_size_bytes: 512,
            physical_sector_size_bytes: 512,
            read_only: false,
            flush: true,
            is_file: false,
        }
    }
}

impl Null {
    /// A disk that says it has this shape.
    pub fn new(geometry: Geometry) -> Self {
        Self { geometry }
    }

    fn run(&self, op: &Op) -> Result<(), DiskError> {
        self.geometry.admit(op)?;
        match (op.kind, &op.lease) {
            (OpKind::Read, Some(lease)) => zero(lease.slice(), op.len_bytes),
            _ => Ok(()),
        }
    }
}

/// Memory that a read did not fill would show one guest what another one had there.
fn zero(memory: VolatileSlice<'_>, len_bytes: usize) -> Result<(), DiskError> {
    for at in (0..len_bytes).step_by(ZEROES.len()) {
        let len = len_bytes.saturating_sub(at).min(ZEROES.len());
        let zeroes = ZEROES.get(..len).unwrap_or(&ZEROES);
        memory
            .write_slice(zeroes, at)
            .map_err(|_| DiskError::Range)?;
    }
    Ok(())
}

impl Ram {
    /// A disk full of zeroes; `None` if it is larger than the address space.
    pub fn new(geometry: Geometry) -> Option<Self> {
        let len = usize::try_from(geometry.sectors.0)
            .ok()?
            .checked_mul(abi::SECTOR_SIZE)?;
        Some(Self {
            geometry,
            bytes: vec![0; len],
        })
    }

    fn run(&mut self, op: &Op) -> Result<(), DiskError> {
        let start = usize::try_from(self.geometry.admit(op)?).map_err(|_| DiskError::Range)?;
        let Some(lease) = &op.lease else {
            return Ok(());
        };
        let range = start..start.saturating_add(op.len_bytes);
        let bytes = self.bytes.get_mut(range).ok_or(DiskError::Range)?;
        match op.kind {
            OpKind::Read => lease.slice().write_slice(bytes, 0),
            OpKind::Write => lease.slice().read_slice(bytes, 0),
            OpKind::Flush => Ok(()),
        }
        .map_err(|_| DiskError::Range)
    }
}

impl Disk for Null {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn submit(&mut self, _reactor: &mut dyn Reactor, op: Op) -> Submitted {
        let result = self.run(&op);
        Submitted::Done(op.done(result))
    }

    fn complete(&mut self, _reactor: &mut dyn Reactor, _completion: Completion) -> Option<Done> {
        None
    }

    fn outstanding(&self) -> usize {
        0
    }

    fn close(&mut self, _reactor: &mut dyn Reactor) {}
}

impl Disk for Ram {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn submit(&mut self, _reactor: &mut dyn Reactor, op: Op) -> Submitted {
        let result = self.run(&op);
        Submitted::Done(op.done(result))
    }

    fn complete(&mut self, _reactor: &mut dyn Reactor, _completion: Completion) -> Option<Done> {
        None
    }

    fn outstanding(&self) -> usize {
        0
    }

    fn close(&mut self, _reactor: &mut dyn Reactor) {}
}
