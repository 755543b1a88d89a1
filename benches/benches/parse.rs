//! From the 112 bytes that a guest wrote to a request that may be executed.
//!
//! `decode` reads the fields, `judge` checks them all. The floor is the copy of the slot's bytes,
//! which the ring has to make anyway.

use std::hint::black_box;

use abi::io::blkif::{Operation, Protocol, RawRequest, RawSegment, SLOT_MAX};
use abi::{GrantRef, Sector};
use blkback::request::{Limits, Request};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use disk::Geometry;

const SEGMENTS: [u8; 2] = [1, 11];

/// A read of whole pages.
fn raw(nr_segments: u8) -> RawRequest {
    let mut raw = RawRequest {
        operation: Operation::READ,
        nr_segments,
        id: 0x1122_3344_5566_7788,
        sector_number: Sector(4096),
        ..RawRequest::default()
    };
    for (gref, segment) in (8..).zip(&mut raw.segments) {
        *segment = RawSegment {
            gref: GrantRef(gref),
            first_sect: 0,
            last_sect: 7,
        };
    }
    raw
}

fn limits() -> Limits {
    Limits {
        geometry: Geometry::of_sectors(Sector(1 << 20)),
        writable: true,
    }
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for protocol in [Protocol::X86_64, Protocol::X86_32] {
        let slot = raw(11).encode(protocol);
        group.bench_function(protocol.name(), |b| {
            b.iter(|| RawRequest::decode(protocol, black_box(&slot)));
        });
    }
    let slot = raw(11).encode(Protocol::X86_64);
    group.bench_function("copy of the slot (floor)", |b| {
        b.iter(|| -> [u8; SLOT_MAX] { *black_box(&slot) });
    });
    group.finish();
}

fn judge(c: &mut Criterion) {
    let mut group = c.benchmark_group("judge");
    for segments in SEGMENTS {
        let raw = raw(segments);
        group.bench_function(BenchmarkId::new("segments", segments), |b| {
            b.iter(|| Request::parse(black_box(&raw), &limits()).expect("a good request"));
        });
    }
    let refused = RawRequest {
        sector_number: Sector(u64::MAX),
        ..raw(1)
    };
    group.bench_function("out of range", |b| {
        b.iter(|| Request::parse(black_box(&refused), &limits()).expect_err("a bad request"));
    });
    group.finish();
}

/// Both, as the backend does it for each request that it takes.
fn slot_to_request(c: &mut Criterion) {
    let mut group = c.benchmark_group("slot to request");
    for segments in SEGMENTS {
        let slot = raw(segments).encode(Protocol::X86_64);
        group.bench_function(BenchmarkId::new("segments", segments), |b| {
            b.iter(|| {
                let raw = RawRequest::decode(Protocol::X86_64, black_box(&slot));
                Request::parse(&raw, &limits()).expect("a good request")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decode, judge, slot_to_request);
criterion_main!(benches);
