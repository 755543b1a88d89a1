//! A disk of a world: bytes in memory, and faults on demand.
//!
//! The driver of the world decides when an operation ends and what became of it; this file only
//! makes it so. It knows nothing of formats or of who submitted.
//!
//! Modelled: short transfers, errors that leave a write undone or half done, completion in any order, operations
//! that take for ever. Not modelled: power cuts.
//!
//! Invariant: bytes change only while a write is ended here.

use abi::SECTOR_SIZE;
use reactor::{Submission, Verb};
use vm_memory::Bytes as _;

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// All of it happens.
    Whole,
    /// The first so many bytes happen, and the caller is told how many.
    Short(usize),
    /// Half of a write may have happened; the caller is told this errno.
    Error(i32),
}

/// See the head of this file.
#[derive(Clone, Debug)]
pub struct Drive {
    bytes: Vec<u8>,
}

impl Drive {
    /// A drive with this content.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// What the drive holds.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Lets an operation happen; the result is what its submitter is told.
    pub fn serve(&mut self, operation: &Submission, fate: Fate) -> Result<usize, i32> {
        let wanted = operation.range.len();
        let (len, told) = match fate {
            Fate::Whole => (wanted, None),
            Fate::Short(len) => (len.min(wanted), None),
            // A sector is written whole or not at all.
            Fate::Error(errno) => (wanted / 2 / SECTOR_SIZE * SECTOR_SIZE, Some(errno)),
        };
        let moved = match operation.verb {
            Verb::ReadAt => self.read(operation, len),
            Verb::WriteAt => self.write(operation, len),
            Verb::Sync => Some(0),
            Verb::Receive | Verb::Send | Verb::Ready => None,
        };
        told.map_or(moved.ok_or(libc::EINVAL), Err)
    }

    fn read(&self, operation: &Submission, len: usize) -> Option<usize> {
        let (start, len) = self.within(operation, len)?;
        let lease = operation.lease.as_ref()?.slice();
        lease
            .write_slice(self.bytes.get(start..start + len)?, operation.range.start)
            .ok()?;
        Some(len)
    }

    fn write(&mut self, operation: &Submission, len: usize) -> Option<usize> {
        let (start, len) = self.within(operation, len)?;
        let lease = operation.lease.as_ref()?.slice();
        lease
            .read_slice(
                self.bytes.get_mut(start..start + len)?,
                operation.range.start,
            )
            .ok()?;
        Some(len)
    }

    /// Where the operation starts, and how much of it lies on the drive.
    fn within(&self, operation: &Submission, len: usize) -> Option<(usize, usize)> {
        let start = usize::try_from(operation.offset).ok()?;
        let left = self.bytes.len().saturating_sub(start);
        Some((start, len.min(left)))
    }
}
