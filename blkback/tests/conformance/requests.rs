//! The judgement of single requests, without a ring.

use abi::io::blkif::{Operation, RawRequest, RawSegment, Status};
use abi::{GrantRef, Sector};
use blkback::request::{Limits, Refused, Request};
use disk::Geometry;

const SECTORS: u64 = 1000;

fn limits() -> Limits {
    Limits {
        geometry: Geometry {
            sectors: Sector(SECTORS),
            sector_size_bytes: 512,
            physical_sector_size_bytes: 4096,
            read_only: false,
            flush: true,
            is_file: false,
        },
        writable: true,
    }
}

fn raw(operation: Operation) -> RawRequest {
    let page = RawSegment {
        gref: GrantRef(9),
        first_sect: 0,
        last_sect: 7,
    };
    RawRequest {
        operation,
        nr_segments: 1,
        handle: 0,
        id: 77,
        sector_number: Sector(0),
        segments: [page; 11],
    }
}

fn refusal(raw: &RawRequest, limits: &Limits) -> Refused {
    Request::parse(raw, limits).expect_err("must be refused")
}

#[test]
fn a_read_of_one_page_is_accepted() {
    let request = Request::parse(&raw(Operation::READ), &limits()).expect("valid");
    assert_eq!(request.operation(), Operation::READ);
}

#[test]
fn a_request_that_ends_with_the_disk_is_accepted() {
    let raw = RawRequest {
        sector_number: Sector(SECTORS - 8),
        ..raw(Operation::WRITE)
    };
    assert!(Request::parse(&raw, &limits()).is_ok());
}

#[test]
fn a_request_one_sector_beyond_the_disk_is_refused() {
    let raw = RawRequest {
        sector_number: Sector(SECTORS - 7),
        ..raw(Operation::READ)
    };
    assert_eq!(refusal(&raw, &limits()), Refused::Range);
}

#[test]
fn a_request_that_wraps_around_is_refused() {
    let raw = RawRequest {
        sector_number: Sector(u64::MAX - 3),
        ..raw(Operation::READ)
    };
    assert_eq!(refusal(&raw, &limits()), Refused::Range);
}

#[test]
fn the_size_at_the_time_of_the_request_decides() {
    let mut shrunk = limits();
    shrunk.geometry.sectors = Sector(7);
    assert_eq!(refusal(&raw(Operation::READ), &shrunk), Refused::Range);
}

#[test]
fn a_read_with_zero_segments_is_refused() {
    let raw = RawRequest {
        nr_segments: 0,
        ..raw(Operation::READ)
    };
    assert_eq!(refusal(&raw, &limits()), Refused::SegmentCount);
}

#[test]
fn a_write_with_zero_segments_is_refused() {
    let raw = RawRequest {
        nr_segments: 0,
        ..raw(Operation::WRITE)
    };
    assert_eq!(refusal(&raw, &limits()), Refused::SegmentCount);
}

#[test]
fn twelve_segments_are_refused() {
    let raw = RawRequest {
        nr_segments: 12,
        ..raw(Operation::READ)
    };
    assert_eq!(refusal(&raw, &limits()), Refused::TooManySegments);
}

#[test]
fn a_flush_without_segments_is_accepted() {
    let raw = RawRequest {
        nr_segments: 0,
        ..raw(Operation::FLUSH_DISKCACHE)
    };
    assert_eq!(Request::parse(&raw, &limits()), Ok(Request::Flush));
}

#[test]
fn a_flush_with_data_is_refused() {
    assert_eq!(
        refusal(&raw(Operation::FLUSH_DISKCACHE), &limits()),
        Refused::SegmentCount
    );
}

#[test]
fn a_flush_is_unsupported_where_the_disk_has_none() {
    let raw = RawRequest {
        nr_segments: 0,
        ..raw(Operation::FLUSH_DISKCACHE)
    };
    let mut without = limits();
    without.geometry.flush = false;
    assert_eq!(refusal(&raw, &without), Refused::Unsupported);
}

#[test]
fn a_write_to_a_read_only_device_is_refused() {
    let read_only = Limits {
        writable: false,
        ..limits()
    };
    assert_eq!(
        refusal(&raw(Operation::WRITE), &read_only),
        Refused::ReadOnly
    );
}

#[test]
fn a_write_to_a_read_only_disk_is_refused() {
    let mut read_only = limits();
    read_only.geometry.read_only = true;
    assert_eq!(
        refusal(&raw(Operation::WRITE), &read_only),
        Refused::ReadOnly
    );
}

#[test]
fn a_position_off_the_logical_sectors_is_refused() {
    let raw = RawRequest {
        sector_number: Sector(4),
        ..raw(Operation::READ)
    };
    let mut coarse = limits();
    coarse.geometry.sector_size_bytes = 4096;
    assert_eq!(refusal(&raw, &coarse), Refused::Alignment);
}

#[test]
fn every_other_operation_is_unsupported() {
    let others = (0..=u8::MAX).map(Operation).filter(|operation| {
        ![
            Operation::READ,
            Operation::WRITE,
            Operation::FLUSH_DISKCACHE,
        ]
        .contains(operation)
    });
    let verdicts: Vec<_> = others
        .map(|other| refusal(&raw(other), &limits()))
        .collect();
    assert_eq!(verdicts, vec![Refused::Unsupported; 253]);
}

#[test]
fn only_the_unsupported_is_answered_with_eopnotsupp() {
    let told: Vec<_> = Refused::ALL.map(Refused::status).to_vec();
    let mut expected = vec![Status::ERROR; Refused::ALL.len()];
    expected[0] = Status::EOPNOTSUPP;
    assert_eq!(told, expected);
}
