//! What a block device is to its backend: sectors that can be read, written and made durable.
//!
//! A [`Disk`] never waits and owns no ring: it turns an [`Op`] into submissions to the
//! [`Reactor`] it is lent, and is handed their completions. It knows nothing of Xen, of guests, of
//! paths (it is given open files) or of how requests were spelled.
//!
//! Invariant: an [`Op`] that was submitted comes back in exactly one [`Done`], with its memory.

#![deny(unsafe_code)]

use abi::Sector;
use reactor::{Completion, Lease, Reactor};

pub mod conformance;
pub mod delay;
pub mod fault;
mod geometry;
pub mod leaf;
pub mod lock;
pub mod prepare;
pub mod probe;
pub mod raw;
pub mod signature;
pub mod spec;
mod sys;

pub use delay::Delay;
pub use fault::Faulty;
pub use leaf::{Null, Ram};
pub use prepare::{OPEN_FLAGS, Prepared, Refusal, prepare};
pub use raw::Raw;
pub use spec::{Format, ImageSpec, SpecError};

/// Immutable facts about a disk, read once when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Capacity, in 512-byte sectors.
    pub sectors: Sector,
    /// Logical sector size in bytes, a power of two from 512: the alignment of every operation.
    pub sector_size_bytes: u32,
    /// Physical sector size in bytes, a multiple of the logical one.
    pub physical_sector_size_bytes: u32,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Whether [`OpKind::Flush`] is accepted.
    pub flush: bool,
    /// Whether it is a regular file, whose sectors are those of where it lies now, and not
    /// necessarily those that its content was made for.
    pub is_file: bool,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpKind {
    /// Fill the lease from the disk.
    Read,
    /// Store the lease on the disk.
    Write,
    /// All writes that came back before this was submitted survive a power cut once it comes
    /// back. It promises nothing about writes still under way.
    Flush,
}

/// One operation. The disk owns its memory from [`Disk::submit`] until [`Done`].
#[derive(Debug)]
pub struct Op {
    /// The submitter's name for it; unique among its operations in flight, below 2^31.
    pub id: u32,
    /// Do what.
    pub kind: OpKind,
    /// From which sector.
    pub sector: Sector,
    /// How many bytes from the start of the lease; a multiple of the logical sector size, and 0
    /// for a flush alone.
    pub len_bytes: usize,
    /// The memory; `None` for a flush alone.
    pub lease: Option<Lease>,
}

/// The end of an operation.
#[derive(Debug)]
pub struct Done {
    /// The name it was submitted under.
    pub id: u32,
    /// The memory it was lent.
    pub lease: Option<Lease>,
    /// Whether all of it happened. After an error nothing is known about the sectors of a write.
    pub result: Result<(), DiskError>,
}

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// The range ends beyond the disk, wraps, or is not aligned to the logical sector size.
    #[error("range outside the disk or not aligned to its sectors")]
    Range,
    /// A write to a read-only disk.
    #[error("disk is read-only")]
    ReadOnly,
    /// The storage reported an error.
    #[error("storage failed: {}", std::io::Error::from_raw_os_error(*.0))]
    Os(i32),
    /// The storage ended before the disk did: the image was truncated behind our back.
    #[error("image ended early")]
    Truncated,
}

/// What became of a submitted operation so far.
#[derive(Debug)]
pub enum Submitted {
    /// It is under way; its [`Done`] comes out of [`Disk::complete`].
    Pending,
    /// It has already ended, well or badly.
    Done(Done),
}

impl Op {
    /// Ends it.
    pub fn done(self, result: Result<(), DiskError>) -> Done {
        Done {
            id: self.id,
            lease: self.lease,
            result,
        }
    }
}

impl Submitted {
    /// The end of the operation, if it has come already.
    pub fn done(self) -> Option<Done> {
        match self {
            Self::Pending => None,
            Self::Done(done) => Some(done),
        }
    }
}

/// A block device.
///
/// *Ranges.* An operation that ends beyond the capacity, wraps or is misaligned ends with
/// [`DiskError::Range`] and touches nothing; a frontend's request is checked before, but a disk
/// does not rely on its caller.
/// *Order.* Operations in flight together may happen in any order and overlap in any way. Whoever
/// needs an order waits for the first [`Done`] before submitting the second operation.
/// *Completion.* Every completion whose token names this disk's owner goes to [`Disk::complete`],
/// exactly once, whichever layer it is for; a decorator hands inwards what is not its own.
pub trait Disk {
    /// The facts about this disk.
    fn geometry(&self) -> Geometry;

    /// Starts an operation.
    fn submit(&mut self, reactor: &mut dyn Reactor, op: Op) -> Submitted;

    /// Takes a completion; returns the operation it ended, if it ended one.
    fn complete(&mut self, reactor: &mut dyn Reactor, completion: Completion) -> Option<Done>;

    /// Operations submitted and not yet done.
    fn outstanding(&self) -> usize;

    /// Lets go of the storage. Nothing may be outstanding.
    fn close(&mut self, reactor: &mut dyn Reactor);
}
