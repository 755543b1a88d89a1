//! The shared ring: both halves in one thread, so everything is in the cache of one processor.
//!
//! `round trip` is a request and its response through every operation of both halves; `copies` is
//! the floor: the same bytes moved between the same kinds of memory, without an index. What a ring
//! costs between two processors is the cache line's journey and not this code; `e2e` has that.

use std::hint::black_box;

use abi::io::blkif::{Protocol, RESPONSE_MAX, SLOT_MAX, entries};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use reactor::{Lease, Pool};
use ring::{Back, Front, Notify, SharedPages};
use vm_memory::VolatileSlice;

const BATCHES: [u32; 2] = [1, 32];

struct Page(Lease);

impl SharedPages for &Page {
    fn slice(&self) -> VolatileSlice<'_> {
        self.0.slice()
    }
}

fn page() -> Page {
    let pool = Pool::new(1, abi::PAGE_SIZE).expect("a page of memory");
    Page(pool.lease().expect("a fresh pool has a lease"))
}

fn halves(page: &Page) -> (Front<&Page>, Back<&Page>) {
    let (slots, stride) = (entries(1, Protocol::X86_64), Protocol::X86_64.stride());
    let front = Front::new(page, slots, stride).expect("a page holds a ring");
    (
        front,
        Back::new(page, slots, stride).expect("a page holds a ring"),
    )
}

/// What a frontend that keeps `batch` requests under way and its backend do for each batch. Says
/// how often one would have notified the other.
fn round_trip(front: &mut Front<&Page>, back: &mut Back<&Page>, batch: u32) -> u32 {
    let (mut request, mut response) = ([7; SLOT_MAX], [7; RESPONSE_MAX]);
    for _ in 0..batch {
        front.put(black_box(&request));
    }
    let kicked = front.publish();
    black_box(back.refresh().expect("an honest frontend"));
    while back.take(&mut request) {
        back.put(black_box(&response));
    }
    let answered = back.publish();
    assert!(
        !back.arm().expect("an honest frontend"),
        "all requests were taken"
    );
    black_box(front.refresh().expect("an honest backend"));
    while front.take(&mut response) {
        black_box(&response);
    }
    assert!(
        !front.arm().expect("an honest backend"),
        "all responses were taken"
    );
    u32::from(kicked == Notify::Peer) + u32::from(answered == Notify::Peer)
}

/// The same bytes: a request into a slot and out, a response into a slot and out.
fn copies(memory: VolatileSlice<'_>, batch: u32) {
    let (mut request, mut response) = ([7_u8; SLOT_MAX], [7_u8; RESPONSE_MAX]);
    for slot in 0..batch as usize {
        let slot = memory
            .subslice(64 + slot * SLOT_MAX, SLOT_MAX)
            .expect("within the page");
        slot.copy_from(black_box(&request));
        slot.copy_to(black_box(&mut request));
        slot.copy_from(black_box(&response));
        slot.copy_to(black_box(&mut response));
    }
}

fn round_trips(c: &mut Criterion) {
    let mut group = c.benchmark_group("ring");
    for batch in BATCHES {
        group.throughput(Throughput::Elements(batch.into()));
        group.bench_function(BenchmarkId::new("round trip", batch), |b| {
            let page = page();
            let (mut front, mut back) = halves(&page);
            b.iter(|| round_trip(&mut front, &mut back, batch));
        });
        group.bench_function(BenchmarkId::new("copies (floor)", batch), |b| {
            let page = page();
            b.iter(|| copies(page.0.slice(), batch));
        });
    }
    group.finish();
}

/// What a turn pays that finds nothing: each operation on an idle ring.
fn idle(c: &mut Criterion) {
    let mut group = c.benchmark_group("ring idle");
    let page = page();
    let (_front, mut back) = halves(&page);
    group.bench_function("refresh", |b| b.iter(|| back.refresh()));
    group.bench_function("arm", |b| b.iter(|| back.arm()));
    group.bench_function("publish", |b| b.iter(|| back.publish()));
    group.finish();
}

criterion_group!(benches, round_trips, idle);
criterion_main!(benches);
