//! Event channels: one event and its delivery as the number of bound ports grows, beside the
//! two-level ABI as far as that goes.
//!
//! Sender and receiver share a thread and there is no upcall: this is what the ABI itself costs. A
//! notification's system call and the journey of a cache line come on top; `e2e` has them.
//! `one active` is the latency of an event while all other ports are silent; it visits the ports in
//! an order that no prefetcher guesses. `all active` is the throughput when every port is raised
//! before any is taken. `urgent behind all` is the latency of an event of the highest priority
//! while every other port waits, which the two-level ABI cannot offer.

use std::hint::black_box;
use std::num::NonZeroU32;

use abi::Port;
use abi::event_channel::fifo::{NR_CHANNELS, PRIORITY_MAX};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use evtchn::SharedMemory;
use evtchn::fifo::{self, Client, PRIVATE_BYTES, Queues, Raise};
use evtchn::two_level::{self, Bitmaps, SHARED_BYTES};
use reactor::{Lease, Pool};
use vm_memory::VolatileSlice;

/// Bound ports, up to all there are.
const FIFO_PORTS: [u32; 6] = [10, 100, 1000, 4095, 10_000, 131_071];
const TWO_LEVEL_PORTS: [u32; 4] = [10, 100, 1000, 4095];
/// Pages of the largest event array.
const ARRAY_PAGES: u32 = 128;
const SENDER: Client = Client(NonZeroU32::MIN);

struct Pages(Lease);

impl Pages {
    fn zeroed(len_bytes: usize) -> Self {
        let pool = Pool::new(1, len_bytes.next_multiple_of(abi::PAGE_SIZE)).expect("memory");
        Self(pool.lease().expect("a fresh pool has a lease"))
    }
}

impl SharedMemory for Pages {
    fn slice(&self) -> VolatileSlice<'_> {
        self.0.slice()
    }
}

/// Both sides of one ABI.
trait Abi {
    fn send(&mut self, port: Port) -> Raise;
    /// Takes a port and unmasks it.
    fn receive(&mut self) -> Option<Port>;
}

struct Fifo<'a> {
    queues: Queues<&'a Pages>,
    consumer: fifo::Consumer<&'a Pages>,
}

impl Abi for Fifo<'_> {
    fn send(&mut self, port: Port) -> Raise {
        self.queues.set_pending(SENDER, port)
    }

    fn receive(&mut self) -> Option<Port> {
        let port = self.consumer.pop()?;
        assert!(!self.consumer.unmask(port), "nobody sent it again");
        Some(port)
    }
}

struct TwoLevel<'a> {
    bitmaps: Bitmaps<&'a Pages>,
    consumer: two_level::Consumer<&'a Pages>,
}

impl Abi for TwoLevel<'_> {
    fn send(&mut self, port: Port) -> Raise {
        self.bitmaps.set_pending(port)
    }

    fn receive(&mut self) -> Option<Port> {
        let port = self.consumer.pop()?;
        let raise = self.consumer.unmask(port);
        assert_eq!(raise, Raise::Nothing, "nobody sent it again");
        Some(port)
    }
}

/// Ports 1 to `bound` for ever, in an order that looks random and visits each of them.
fn scattered(bound: u32) -> impl Iterator<Item = Port> {
    // A prime step has no factor in common with any of the numbers of ports.
    let step = 48_611 % bound.max(2);
    let mut at = 0;
    std::iter::repeat_with(move || {
        at = (at + step.max(1)) % bound;
        Port(at + 1)
    })
}

fn one_active(abi: &mut impl Abi, ports: &mut impl Iterator<Item = Port>) {
    let port = ports.next();
    black_box(port.map(|port| abi.send(port)));
    assert_eq!(abi.receive(), port);
}

fn all_active(abi: &mut impl Abi, bound: u32) {
    for port in 1..=bound {
        assert_ne!(abi.send(Port(port)), Raise::Abandoned);
    }
    let mut arrived = 0;
    while let Some(port) = abi.receive() {
        black_box(port);
        arrived += 1;
    }
    assert_eq!(arrived, bound);
}

/// One event at a time, then all at once.
fn both(criterion: &mut Criterion, name: &str, abi: &mut impl Abi, bound: u32) {
    let mut latency = criterion.benchmark_group("evtchn one active");
    let mut ports = scattered(bound);
    latency.bench_function(BenchmarkId::new(name, bound), |bencher| {
        bencher.iter(|| one_active(abi, &mut ports));
    });
    latency.finish();
    let mut throughput = criterion.benchmark_group("evtchn all active");
    throughput.throughput(Throughput::Elements(u64::from(bound)));
    throughput.bench_function(BenchmarkId::new(name, bound), |bencher| {
        bencher.iter(|| all_active(abi, bound));
    });
    throughput.finish();
}

fn fifo_memory() -> [Pages; 3] {
    [
        abi::PAGE_SIZE,
        NR_CHANNELS * size_of::<u32>(),
        PRIVATE_BYTES,
    ]
    .map(Pages::zeroed)
}

fn fifo_sides([control, array, private]: &[Pages; 3]) -> Fifo<'_> {
    let queues = Queues::new(control, array, private).expect("it fits");
    queues.expand(ARRAY_PAGES);
    let consumer = fifo::Consumer::new(control, array).expect("it fits");
    Fifo { queues, consumer }
}

fn fifo(criterion: &mut Criterion) {
    for bound in FIFO_PORTS {
        let memory = fifo_memory();
        let mut abi = fifo_sides(&memory);
        both(criterion, "fifo", &mut abi, bound);
        let urgent = Port(bound);
        assert!(abi.queues.set_priority(urgent, PRIORITY_MAX));
        for port in 1..bound {
            assert_ne!(abi.send(Port(port)), Raise::Abandoned);
        }
        let mut group = criterion.benchmark_group("evtchn urgent behind all");
        group.bench_function(BenchmarkId::new("fifo", bound), |bencher| {
            bencher.iter(|| {
                assert_ne!(abi.send(urgent), Raise::Abandoned);
                assert_eq!(abi.receive(), Some(urgent));
            });
        });
        group.finish();
    }
}

fn two_level(criterion: &mut Criterion) {
    for bound in TWO_LEVEL_PORTS {
        let memory = Pages::zeroed(SHARED_BYTES);
        let mut abi = TwoLevel {
            bitmaps: Bitmaps::new(&memory).expect("it fits"),
            consumer: two_level::Consumer::new(&memory).expect("it fits"),
        };
        both(criterion, "two_level", &mut abi, bound);
    }
}

criterion_group!(evtchn, fifo, two_level);
criterion_main!(evtchn);
