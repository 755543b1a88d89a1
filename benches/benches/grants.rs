//! One batch of grant copies of the simulated host: 4 KiB segments from and to scattered pages.
//!
//! The copying code is the one of live hosts; only attaching is a function call here. A segment
//! costs a check of the guest's entry and one `pread` or `pwrite` of the guest's memory file; on
//! Xen a whole batch is one ioctl and one hypercall, whose price is not in these numbers. Floors:
//! the same transfers without the check, and a plain `memcpy` between mapped pages.

use std::hint::black_box;
use std::os::unix::fs::FileExt as _;

use abi::grant_table::gntst;
use abi::{DomId, Gfn, PAGE_SIZE};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use reactor::{Lease, Pool};
use sim::live::{Guest, NewDomain};
use sim::memory::Frames;
use sim::world::Host;
use vm_memory::VolatileSlice;
use xen::{CopyOp, Direction, GrantStatus, Platform};

/// One request of one page; a full ring of them; a full ring of the largest requests.
const BATCHES: [usize; 3] = [1, 32, 352];

/// A whole page.
const SEGMENT_BYTES: u16 = 4096;

const GUEST_BYTES: u64 = 64 << 20;

/// A guest that has lent pages, and a backend that may copy them.
struct Bench {
    platform: Platform,
    guest: Guest,
    frames: Vec<Gfn>,
    ops: Vec<CopyOp>,
    arena: Lease,
}

impl Bench {
    fn new(count: usize, direction: Direction) -> Self {
        let host = Host::new();
        let uuid = "00000000-0000-0000-0000-000000000001".to_owned();
        let new = NewDomain {
            name: "bench".to_owned(),
            uuid,
            memory_bytes: GUEST_BYTES,
        };
        let domid = host.create(&new).expect("a domain");
        let mut guest = host.attach_guest(domid).expect("a guest");
        let backend = host.attach_backend(domid).expect("a backend");
        let mut free = Frames::new(&guest.memory, 1);
        let mut frames = Vec::with_capacity(count);
        let mut ops = Vec::with_capacity(count);
        for local in (0..count).map(|index| index * PAGE_SIZE) {
            let gfn = free
                .take()
                .expect("the guest has more frames than segments");
            let gref = guest
                .table
                .grant(DomId::DOM0, gfn, false)
                .expect("a free grant");
            let (len, status) = (SEGMENT_BYTES, GrantStatus(gntst::OKAY));
            ops.push(CopyOp {
                direction,
                domid,
                gref,
                offset: 0,
                len,
                local,
                status,
            });
            frames.push(gfn);
        }
        let arena = Pool::new(1, count * PAGE_SIZE).expect("memory");
        let arena = arena.lease().expect("a fresh pool has a lease");
        arena.slice().copy_from(&vec![5_u8; count * PAGE_SIZE]);
        let platform = backend.platform;
        let mut bench = Self {
            platform,
            guest,
            frames,
            ops,
            arena,
        };
        bench.each_page(|page, _| page.copy_from(&[9_u8; PAGE_SIZE]));
        bench.batch();
        assert!(
            bench.ops.iter().all(|op| op.status.0 == gntst::OKAY),
            "every grant is in order"
        );
        bench
    }

    /// The call that the backend makes once per turn.
    fn batch(&mut self) {
        self.platform
            .grants
            .copy(self.arena.slice(), black_box(&mut self.ops));
    }

    /// Calls `with` for each mapped page of the guest and its place in the arena.
    fn each_page(&self, mut with: impl FnMut(VolatileSlice<'_>, VolatileSlice<'_>)) {
        for (gfn, op) in self.frames.iter().zip(&self.ops) {
            let page = self.guest.memory.frame(*gfn).expect("a frame of the guest");
            let local = self
                .arena
                .slice()
                .subslice(op.local, PAGE_SIZE)
                .expect("in the arena");
            with(page, local);
        }
    }

    /// The transfers of a batch without the checks.
    fn bare(&self, buffer: &mut [u8]) {
        let file = self.guest.memory.region().file();
        for (gfn, op) in self.frames.iter().zip(&self.ops) {
            let buffer = &mut buffer[op.local..op.local + PAGE_SIZE];
            let at = gfn.0 * PAGE_SIZE as u64;
            let moved = match op.direction {
                Direction::FromGuest => file.read_at(buffer, at),
                Direction::ToGuest => file.write_at(buffer, at),
            };
            assert_eq!(moved.expect("within the guest's memory"), PAGE_SIZE);
        }
    }
}

fn copies(c: &mut Criterion) {
    for (name, direction) in [
        ("grant copy to guest", Direction::ToGuest),
        ("grant copy from guest", Direction::FromGuest),
    ] {
        let mut group = c.benchmark_group(name);
        for count in BATCHES {
            let mut bench = Bench::new(count, direction);
            group.throughput(Throughput::Elements(count as u64));
            group.bench_function(BenchmarkId::new("batch", count), |b| {
                b.iter(|| bench.batch());
            });
            let mut buffer = vec![3; count * PAGE_SIZE];
            group.bench_function(BenchmarkId::new("bare calls (floor)", count), |b| {
                b.iter(|| bench.bare(&mut buffer));
            });
        }
        group.finish();
    }
}

/// Direction does not matter here.
fn memcpy(c: &mut Criterion) {
    let mut group = c.benchmark_group("memcpy of pages (floor)");
    for count in BATCHES {
        let bench = Bench::new(count, Direction::ToGuest);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| bench.each_page(|page, local| local.copy_to_volatile_slice(page)));
        });
    }
    group.finish();
}

criterion_group!(benches, copies, memcpy);
criterion_main!(benches);
