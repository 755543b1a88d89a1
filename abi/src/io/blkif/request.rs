//! Requests as they lie in a slot: decoded without judgement, encoded for frontends.
//!
//! Invariant: every field is read from the caller's private copy of the slot, never from shared
//! memory, and no content of it can panic.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use super::{MAX_INDIRECT_PAGES, MAX_SEGMENTS, Operation, Protocol, SEGMENT_SIZE};
use crate::bytes::{get_u8, get_u16, get_u32, get_u64, put};
use crate::{GrantRef, Sector};

/// Bytes of the largest slot, and so of the buffer that a slot is copied into.
pub const SLOT_MAX: usize = 112;

const NR_SEGMENTS: usize = 1;
const HANDLE: usize = 2;
const DISCARD_FLAG: usize = 1;
const INDIRECT_OP: usize = 1;
const INDIRECT_NR_SEGMENTS: usize = 2;

/// `struct blkif_request_segment`: a part of a granted page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawSegment {
    /// The page.
    pub gref: GrantRef,
    /// First sector of the page, inclusive.
    pub first_sect: u8,
    /// Last sector of the page, inclusive.
    pub last_sect: u8,
}

/// `struct blkif_request`: a request with its segments in the slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawRequest {
    /// What to do.
    pub operation: Operation,
    /// How many segments count; may be beyond [`MAX_SEGMENTS`].
    pub nr_segments: u8,
    /// The frontend's device number; backends ignore it.
    pub handle: u16,
    /// The frontend's name for the request, echoed in the response.
    pub id: u64,
    /// Where on the disk.
    pub sector_number: Sector,
    /// All segments of the slot, those beyond `nr_segments` included.
    pub segments: [RawSegment; MAX_SEGMENTS],
}

/// `struct blkif_request_discard`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawDiscard {
    /// [`super::DISCARD_SECURE`], or 0.
    pub flag: u8,
    /// The frontend's name for the request.
    pub id: u64,
    /// Where on the disk.
    pub sector_number: Sector,
    /// How much of it.
    pub nr_sectors: Sector,
}

/// `struct blkif_request_indirect`: a request with its segments in pages of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawIndirect {
    /// READ or WRITE, if the frontend is honest.
    pub indirect_op: Operation,
    /// How many segments the pages hold.
    pub nr_segments: u16,
    /// The frontend's name for the request.
    pub id: u64,
    /// Where on the disk.
    pub sector_number: Sector,
    /// The frontend's device number; backends ignore it.
    pub handle: u16,
    /// Pages full of [`RawSegment`]s.
    pub grefs: [GrantRef; MAX_INDIRECT_PAGES],
}

/// Reads one segment, from a slot or from an indirect page.
pub fn decode_segment(bytes: &[u8; SEGMENT_SIZE]) -> RawSegment {
    RawSegment {
        gref: GrantRef(get_u32(bytes, 0)),
        first_sect: get_u8(bytes, 4),
        last_sect: get_u8(bytes, 5),
    }
}

impl RawSegment {
    /// The segment's bytes.
    pub fn encode(&self) -> [u8; SEGMENT_SIZE] {
        let mut bytes = [0; SEGMENT_SIZE];
        put(&mut bytes, 0, self.gref.0.to_le_bytes());
        put(&mut bytes, 4, [self.first_sect, self.last_sect]);
        bytes
    }
}

impl RawRequest {
    /// Reads a slot as a request with direct segments.
    pub fn decode(protocol: Protocol, slot: &[u8; SLOT_MAX]) -> Self {
        let layout = protocol.layout();
        let mut segments = [RawSegment::default(); MAX_SEGMENTS];
        let (packed, _) = slot.get(layout.segments..).unwrap_or_default().as_chunks();
        for (segment, bytes) in segments.iter_mut().zip(packed) {
            *segment = decode_segment(bytes);
        }
        Self {
            operation: Operation::of(slot),
            nr_segments: get_u8(slot, NR_SEGMENTS),
            handle: get_u16(slot, HANDLE),
            id: get_u64(slot, layout.id),
            sector_number: Sector(get_u64(slot, layout.sector_number)),
            segments,
        }
    }

    /// The slot's bytes; those beyond the protocol's stride are zero.
    pub fn encode(&self, protocol: Protocol) -> [u8; SLOT_MAX] {
        let layout = protocol.layout();
        let mut slot = [0; SLOT_MAX];
        put(&mut slot, 0, [self.operation.0, self.nr_segments]);
        put(&mut slot, HANDLE, self.handle.to_le_bytes());
        put(&mut slot, layout.id, self.id.to_le_bytes());
        put(
            &mut slot,
            layout.sector_number,
            self.sector_number.0.to_le_bytes(),
        );
        let (packed, _) = slot
            .get_mut(layout.segments..)
            .unwrap_or_default()
            .as_chunks_mut();
        for (bytes, segment) in packed.iter_mut().zip(&self.segments) {
            *bytes = segment.encode();
        }
        slot
    }
}

impl RawDiscard {
    /// Reads a slot as a discard.
    pub fn decode(protocol: Protocol, slot: &[u8; SLOT_MAX]) -> Self {
        let layout = protocol.layout();
        Self {
            flag: get_u8(slot, DISCARD_FLAG),
            id: get_u64(slot, layout.id),
            sector_number: Sector(get_u64(slot, layout.sector_number)),
            nr_sectors: Sector(get_u64(slot, layout.discard_nr_sectors)),
        }
    }

    /// The slot's bytes.
    pub fn encode(&self, protocol: Protocol) -> [u8; SLOT_MAX] {
        let layout = protocol.layout();
        let mut slot = [0; SLOT_MAX];
        put(&mut slot, 0, [Operation::DISCARD.0, self.flag]);
        put(&mut slot, layout.id, self.id.to_le_bytes());
        put(
            &mut slot,
            layout.sector_number,
            self.sector_number.0.to_le_bytes(),
        );
        put(
            &mut slot,
            layout.discard_nr_sectors,
            self.nr_sectors.0.to_le_bytes(),
        );
        slot
    }
}

impl RawIndirect {
    /// Reads a slot as an indirect request.
    pub fn decode(protocol: Protocol, slot: &[u8; SLOT_MAX]) -> Self {
        let layout = protocol.layout();
        let mut grefs = [GrantRef::default(); MAX_INDIRECT_PAGES];
        let (packed, _) = slot
            .get(layout.indirect_grefs..)
            .unwrap_or_default()
            .as_chunks();
        for (gref, bytes) in grefs.iter_mut().zip(packed) {
            *gref = GrantRef(u32::from_le_bytes(*bytes));
        }
        Self {
            indirect_op: Operation(get_u8(slot, INDIRECT_OP)),
            nr_segments: get_u16(slot, INDIRECT_NR_SEGMENTS),
            id: get_u64(slot, layout.indirect_id),
            sector_number: Sector(get_u64(slot, layout.indirect_sector_number)),
            handle: get_u16(slot, layout.indirect_handle),
            grefs,
        }
    }

    /// The slot's bytes.
    pub fn encode(&self, protocol: Protocol) -> [u8; SLOT_MAX] {
        let layout = protocol.layout();
        let mut slot = [0; SLOT_MAX];
        put(&mut slot, 0, [Operation::INDIRECT.0, self.indirect_op.0]);
        put(
            &mut slot,
            INDIRECT_NR_SEGMENTS,
            self.nr_segments.to_le_bytes(),
        );
        put(&mut slot, layout.indirect_id, self.id.to_le_bytes());
        put(
            &mut slot,
            layout.indirect_sector_number,
            self.sector_number.0.to_le_bytes(),
        );
        put(&mut slot, layout.indirect_handle, self.handle.to_le_bytes());
        let (packed, _) = slot
            .get_mut(layout.indirect_grefs..)
            .unwrap_or_default()
            .as_chunks_mut();
        for (bytes, gref) in packed.iter_mut().zip(&self.grefs) {
            *bytes = gref.0.to_le_bytes();
        }
        slot
    }
}
