//! Segments of a direct request: from what the guest wrote to page spans that may be copied.
//!
//! Knows nothing of operations, of sectors of the disk, or of where the bytes go. Invariant: a
//! [`Segment`] lies within one page, is not empty, and starts and ends on a logical sector.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use abi::GrantRef;
use abi::io::blkif::{MAX_SEGMENTS, RawSegment, SECTORS_PER_PAGE};

/// Bytes of one granted page. Part of the in-flight table, hence its fixed layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Segment {
    /// `grant_ref_t` of the page.
    pub gref: u32,
    /// First byte within the page.
    pub offset_bytes: u16,
    /// Bytes from there on.
    pub len_bytes: u16,
}

impl Segment {
    /// The grant of the page.
    pub fn grant(&self) -> GrantRef {
        GrantRef(self.gref)
    }
}

/// One to [`MAX_SEGMENTS`] segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    items: [Segment; MAX_SEGMENTS],
    count: u8,
}

/// What is wrong with a list of segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSegments {
    /// None where data must travel.
    None,
    /// More than [`MAX_SEGMENTS`].
    TooMany,
    /// Ends before it starts, or beyond the page.
    Span,
    /// Does not start and end on a logical sector.
    Alignment,
}

impl Segments {
    /// Checks the first `count` of `raw`; `sector_size_bytes` is the disk's logical sector size.
    pub fn parse(
        raw: &[RawSegment],
        count: u8,
        sector_size_bytes: u32,
    ) -> Result<Self, BadSegments> {
        if count == 0 {
            return Err(BadSegments::None);
        }
        let used = raw.get(..usize::from(count)).ok_or(BadSegments::TooMany)?;
        let mut items = [Segment::default(); MAX_SEGMENTS];
        if used.len() > items.len() {
            return Err(BadSegments::TooMany);
        }
        for (item, raw) in items.iter_mut().zip(used) {
            *item = segment(raw, sector_size_bytes)?;
        }
        Ok(Self { items, count })
    }

    /// All of them, in order.
    pub fn as_slice(&self) -> &[Segment] {
        self.items
            .get(..usize::from(self.count))
            .unwrap_or(&self.items)
    }

    /// The bytes they span together: at most 11 pages.
    pub fn len_bytes(&self) -> usize {
        self.as_slice()
            .iter()
            .map(|segment| usize::from(segment.len_bytes))
            .sum()
    }
}

/// `first_sect` and `last_sect` are inclusive and count 512 bytes, whatever the logical sector
/// size is (`io/blkif.h`).
fn segment(raw: &RawSegment, sector_size_bytes: u32) -> Result<Segment, BadSegments> {
    let (first, last) = (raw.first_sect, raw.last_sect);
    if first > last || last >= SECTORS_PER_PAGE {
        return Err(BadSegments::Span);
    }
    let sectors = last.saturating_sub(first).saturating_add(1);
    let offset_bytes = bytes(first);
    let len_bytes = bytes(sectors);
    let aligned = |value: u16| u32::from(value).is_multiple_of(sector_size_bytes);
    if !aligned(offset_bytes) || !aligned(len_bytes) {
        return Err(BadSegments::Alignment);
    }
    Ok(Segment {
        gref: raw.gref.0,
        offset_bytes,
        len_bytes,
    })
}

/// At most 8 sectors, so at most a page.
fn bytes(sectors: u8) -> u16 {
    u16::from(sectors).saturating_mul(512)
}
