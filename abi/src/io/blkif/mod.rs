//! Block devices: `io/blkif.h`.
//!
//! A frontend and a backend share a ring of requests and responses; a request names up to eleven
//! granted pages. The layout depends on the frontend's word size, see [`Protocol`]. What is decoded
//! here is what the guest wrote, unchecked: validation is the backend's.

use std::fmt;

pub mod keys;
mod layout;
mod request;
mod response;

pub use layout::{Layout, Protocol, entries};
pub use request::{RawDiscard, RawIndirect, RawRequest, RawSegment, SLOT_MAX, decode_segment};
pub use response::{RESPONSE_MAX, Response};

/// Most segments that a request carries in its slot (BLKIF_MAX_SEGMENTS_PER_REQUEST).
pub const MAX_SEGMENTS: usize = 11;
/// Most pages of segments that an indirect request names (BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST).
pub const MAX_INDIRECT_PAGES: usize = 8;
/// Bytes of a segment, in a slot or in an indirect page.
pub const SEGMENT_SIZE: usize = 8;
/// Segments of one indirect page.
pub const SEGMENTS_PER_INDIRECT_PAGE: usize = crate::PAGE_SIZE / SEGMENT_SIZE;
/// Sectors of a granted page; `last_sect` is below it.
pub const SECTORS_PER_PAGE: u8 = 8;
/// Flag of a discard: erase so that nothing can be recovered (BLKIF_DISCARD_SECURE).
pub const DISCARD_SECURE: u8 = 1;

/// What a request asks for (`BLKIF_OP_*`). Any number is representable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Operation(pub u8);

impl Operation {
    /// Fill the segments from the disk.
    pub const READ: Self = Self(0);
    /// Store the segments on the disk.
    pub const WRITE: Self = Self(1);
    /// Like WRITE, and ordered: earlier writes before it, later ones after it.
    pub const WRITE_BARRIER: Self = Self(2);
    /// Completed writes survive a power cut.
    pub const FLUSH_DISKCACHE: Self = Self(3);
    /// Once a vendor's packet command.
    pub const RESERVED_1: Self = Self(4);
    /// The content of a range is no longer needed.
    pub const DISCARD: Self = Self(5);
    /// READ or WRITE with its segments in pages of their own.
    pub const INDIRECT: Self = Self(6);

    /// The operation that a slot holds: its first byte, whatever the layout.
    pub fn of(slot: &[u8; SLOT_MAX]) -> Self {
        let [operation, ..] = slot;
        Self(*operation)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::READ => "READ",
            Self::WRITE => "WRITE",
            Self::WRITE_BARRIER => "WRITE_BARRIER",
            Self::FLUSH_DISKCACHE => "FLUSH_DISKCACHE",
            Self::RESERVED_1 => "RESERVED_1",
            Self::DISCARD => "DISCARD",
            Self::INDIRECT => "INDIRECT",
            Self(other) => return write!(f, "operation {other}"),
        };
        f.write_str(name)
    }
}

/// How a request ended (`BLKIF_RSP_*`). Any number is representable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Status(pub i16);

impl Status {
    /// Done.
    pub const OKAY: Self = Self(0);
    /// Failed.
    pub const ERROR: Self = Self(-1);
    /// The backend does not do this, or no longer.
    pub const EOPNOTSUPP: Self = Self(-2);
}

/// Bits of the backend's `info` node (`VDISK_*`).
pub mod vdisk {
    /// A CD or DVD.
    pub const CDROM: u32 = 1;
    /// The medium can change.
    pub const REMOVABLE: u32 = 2;
    /// Writes are refused.
    pub const READONLY: u32 = 4;
}
