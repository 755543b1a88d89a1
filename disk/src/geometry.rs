//! Which operations a disk of a given shape admits.
//!
//! Pure. It knows no engine; every leaf asks it before it touches anything.
//! Invariant: an admitted range lies within the disk and within its lease, whatever the numbers.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use abi::SECTOR_SIZE;

use crate::{DiskError, Geometry, Op, OpKind};

impl Geometry {
    /// Checks an operation against this disk. Returns the byte it starts at; 0 for a flush.
    pub fn admit(&self, op: &Op) -> Result<u64, DiskError> {
        match op.kind {
            OpKind::Flush if self.flush => Ok(0),
            OpKind::Flush => Err(DiskError::Os(libc::EOPNOTSUPP)),
            OpKind::Write if self.read_only => Err(DiskError::ReadOnly),
            OpKind::Read | OpKind::Write => self.range(op).ok_or(DiskError::Range),
        }
    }

    /// Where the transfer starts, in bytes, if all of it is aligned and inside.
    fn range(&self, op: &Op) -> Option<u64> {
        let len = u64::try_from(op.len_bytes).ok()?;
        let start = op.sector.0.checked_mul(SECTOR_SIZE as u64)?;
        let end = start.checked_add(len)?;
        let size = self.sectors.0.checked_mul(SECTOR_SIZE as u64)?;
        let unit = u64::from(self.sector_size_bytes);
        let aligned = start.is_multiple_of(unit) && len.is_multiple_of(unit);
        let lent = op.lease.as_ref()?.slice().len();
        (len > 0 && aligned && end <= size && op.len_bytes <= lent).then_some(start)
    }
}
