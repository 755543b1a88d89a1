//! The judgement of segments, without a request.

use abi::GrantRef;
use abi::io::blkif::RawSegment;
use blkback::segments::{BadSegments, Segment, Segments};

fn raw(first_sect: u8, last_sect: u8) -> RawSegment {
    RawSegment {
        gref: GrantRef(9),
        first_sect,
        last_sect,
    }
}

#[test]
fn a_whole_page_is_one_span() {
    let segments = Segments::parse(&[raw(0, 7)], 1, 512).expect("valid");
    assert_eq!(
        segments.as_slice(),
        [Segment {
            gref: 9,
            offset_bytes: 0,
            len_bytes: 4096
        }]
    );
}

#[test]
fn a_single_sector_keeps_its_place_in_the_page() {
    let segments = Segments::parse(&[raw(3, 3)], 1, 512).expect("valid");
    assert_eq!(
        segments.as_slice(),
        [Segment {
            gref: 9,
            offset_bytes: 1536,
            len_bytes: 512
        }]
    );
}

#[test]
fn eleven_whole_pages_are_44_kib() {
    let segments = Segments::parse(&[raw(0, 7); 11], 11, 512).expect("valid");
    assert_eq!(segments.len_bytes(), 45056);
}

#[test]
fn no_segment_is_refused() {
    assert_eq!(
        Segments::parse(&[raw(0, 7); 11], 0, 512),
        Err(BadSegments::None)
    );
}

#[test]
fn twelve_segments_are_refused() {
    assert_eq!(
        Segments::parse(&[raw(0, 7); 12], 12, 512),
        Err(BadSegments::TooMany)
    );
}

#[test]
fn a_count_beyond_the_slot_is_refused() {
    assert_eq!(
        Segments::parse(&[raw(0, 7); 11], 255, 512),
        Err(BadSegments::TooMany)
    );
}

#[test]
fn a_segment_that_ends_before_it_starts_is_refused() {
    assert_eq!(
        Segments::parse(&[raw(4, 3)], 1, 512),
        Err(BadSegments::Span)
    );
}

#[test]
fn a_segment_beyond_its_page_is_refused() {
    assert_eq!(
        Segments::parse(&[raw(0, 8)], 1, 512),
        Err(BadSegments::Span)
    );
}

#[test]
fn half_a_logical_sector_is_refused_on_a_4k_disk() {
    assert_eq!(
        Segments::parse(&[raw(0, 3)], 1, 4096),
        Err(BadSegments::Alignment)
    );
}

#[test]
fn a_whole_logical_sector_is_accepted_on_a_4k_disk() {
    let segments = Segments::parse(&[raw(0, 7)], 1, 4096).expect("valid");
    assert_eq!(segments.len_bytes(), 4096);
}
