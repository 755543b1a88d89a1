//! A slot of the ring, copied once, to a request that may be executed, or to the answer it gets
//! instead.
//!
//! [`RawRequest`] is what the guest wrote; [`Request`] is what may be done. Nothing else of this
//! crate looks at a `RawRequest`. Knows nothing of memory, grants or order.
//!
//! Invariant: a [`Request`] lies within the disk as it is now, on its logical sectors, and writes
//! only where writing is permitted.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use abi::io::blkif::{Operation, RawRequest, Status};
use abi::{SECTOR_SIZE, Sector};
use disk::Geometry;

use crate::segments::{BadSegments, Segments};

/// What a guest may ask of this disk at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The disk as it is now; its size may change between two requests.
    pub geometry: Geometry,
    /// Whether the toolstack permits writing.
    pub writable: bool,
}

/// A request that may be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Fill the segments from the disk.
    Read(Transfer),
    /// Store the segments on the disk.
    Write(Transfer),
    /// Make completed writes durable.
    Flush,
}

/// Where data travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// First sector on the disk.
    pub sector: Sector,
    /// Pages of the guest, in the order of the disk's bytes.
    pub segments: Segments,
}

/// Why a request is not executed. The guest learns only [`Refused::status`]; the counters have a
/// row for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// An operation this backend does not do.
    Unsupported,
    /// Data must travel and there is no segment, or a flush has some.
    SegmentCount,
    /// More segments than a slot holds.
    TooManySegments,
    /// A segment that ends before it starts, or beyond its page.
    SegmentSpan,
    /// Not on the disk's logical sectors.
    Alignment,
    /// Beyond the end of the disk, or around the end of all numbers.
    Range,
    /// A write where only reading is permitted.
    ReadOnly,
    /// A write or a flush after a flush has failed.
    FlushFailed,
}

impl Refused {
    /// Every cause, in the order of the counters.
    pub const ALL: [Self; 8] = [
        Self::Unsupported,
        Self::SegmentCount,
        Self::TooManySegments,
        Self::SegmentSpan,
        Self::Alignment,
        Self::Range,
        Self::ReadOnly,
        Self::FlushFailed,
    ];

    /// What the guest is told. An unknown operation is not an error of the disk, and a frontend
    /// stops using what is answered with EOPNOTSUPP (`io/blkif.h`, BLKIF_RSP_EOPNOTSUPP).
    pub fn status(self) -> Status {
        match self {
            Self::Unsupported => Status::EOPNOTSUPP,
            _ => Status::ERROR,
        }
    }

    /// Name of the counter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unsupported => "refused_unsupported",
            Self::SegmentCount => "refused_segment_count",
            Self::TooManySegments => "refused_many_segments",
            Self::SegmentSpan => "refused_segment_span",
            Self::Alignment => "refused_alignment",
            Self::Range => "refused_range",
            Self::ReadOnly => "refused_read_only",
            Self::FlushFailed => "refused_flush_failed",
        }
    }
}

/// The operation that the answer to a request names. For an indirect one that is the operation
/// inside, in the byte where others have `nr_segments` (`struct blkif_request_indirect`); Linux's
/// frontend disables a device that answers with anything else.
pub fn answered_as(raw: &RawRequest) -> Operation {
    match raw.operation {
        Operation::INDIRECT => Operation(raw.nr_segments),
        operation => operation,
    }
}

impl From<BadSegments> for Refused {
    fn from(bad: BadSegments) -> Self {
        match bad {
            BadSegments::None => Self::SegmentCount,
            BadSegments::TooMany => Self::TooManySegments,
            BadSegments::Span => Self::SegmentSpan,
            BadSegments::Alignment => Self::Alignment,
        }
    }
}

impl Request {
    /// Judges what the guest wrote.
    pub fn parse(raw: &RawRequest, limits: &Limits) -> Result<Self, Refused> {
        match raw.operation {
            Operation::READ => Ok(Self::Read(transfer(raw, &limits.geometry)?)),
            Operation::WRITE => {
                if !limits.writable || limits.geometry.read_only {
                    return Err(Refused::ReadOnly);
                }
                Ok(Self::Write(transfer(raw, &limits.geometry)?))
            }
            Operation::FLUSH_DISKCACHE => flush(raw, &limits.geometry),
            _ => Err(Refused::Unsupported),
        }
    }

    /// The operation, as the in-flight table and the response name it.
    pub fn operation(&self) -> Operation {
        match self {
            Self::Read(_) => Operation::READ,
            Self::Write(_) => Operation::WRITE,
            Self::Flush => Operation::FLUSH_DISKCACHE,
        }
    }
}

/// A flush that carried data would have to write it; answering it without would claim what has
/// not happened.
fn flush(raw: &RawRequest, geometry: &Geometry) -> Result<Request, Refused> {
    if !geometry.flush {
        return Err(Refused::Unsupported);
    }
    if raw.nr_segments != 0 {
        return Err(Refused::SegmentCount);
    }
    Ok(Request::Flush)
}

fn transfer(raw: &RawRequest, geometry: &Geometry) -> Result<Transfer, Refused> {
    let segments = Segments::parse(&raw.segments, raw.nr_segments, geometry.sector_size_bytes)?;
    let sector = raw.sector_number;
    // Segments are whole 512-byte sectors, so nothing is rounded away.
    let sectors = u64::try_from(segments.len_bytes() / SECTOR_SIZE).map_err(|_| Refused::Range)?;
    let end = sector.0.checked_add(sectors).ok_or(Refused::Range)?;
    if end > geometry.sectors.0 {
        return Err(Refused::Range);
    }
    // In range, so far below 2^55 that the byte offset cannot wrap on a disk that exists.
    let start_bytes = sector.0.checked_mul(512).ok_or(Refused::Range)?;
    if !start_bytes.is_multiple_of(u64::from(geometry.sector_size_bytes)) {
        return Err(Refused::Alignment);
    }
    Ok(Transfer { sector, segments })
}
