//! A block device from the frontend's request to its answer, on disks without storage.
//!
//! `backend` is one thread that plays both ends in turn; the clock runs only while the loop of the
//! VM process works: an event is pending when it starts, and when it stops all is answered and the
//! loop would sleep. Falling asleep and waking up are not in it. `round trip` has the VM loop and
//! the guest in a thread each, on the same processor or on two, sleeping whenever there is nothing
//! to do; the frontend's own work is in it, and so are the sleeping and waking.
//!
//! Floors: two threads that wake each other through eventfds. `grants` has those of the copies.

use std::time::{Duration, Instant};

use benches::place::{pin, processors};
use benches::rig::{Back, Backing, Front, Rig, Stats};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use halcyon::error::Failure;
use sim::front::Kind;
use vmm_sys_util::eventfd::EventFd;

const DEPTHS: [u32; 2] = [1, 32];

/// What ends an echo.
const LAST: u64 = 1 << 32;

fn backend(c: &mut Criterion) {
    let loads = [
        ("null read", Backing::Null, Kind::Read),
        ("null write", Backing::Null, Kind::Write),
        ("ram read", Backing::Ram, Kind::Read),
        ("ram write", Backing::Ram, Kind::Write),
    ];
    let mut group = c.benchmark_group("backend");
    for (name, backing, kind) in loads {
        let rig = Rig::start().expect("a simulated host");
        let (mut back, mut front) = rig.connected(backing).expect("a connected device");
        for depth in DEPTHS {
            let before = back.stats();
            group.throughput(Throughput::Elements(depth.into()));
            group.bench_function(BenchmarkId::new(name, depth), |b| {
                b.iter_custom(|batches| {
                    let all = (0..batches).map(|_| batch(&mut back, &mut front, kind, depth));
                    all.sum::<Result<Duration, Failure>>()
                        .expect("a device that serves")
                });
            });
            say(name, depth, &back.stats().since(&before));
        }
    }
    group.finish();
}

/// One batch: the time that the VM loop took.
fn batch(back: &mut Back, front: &mut Front, kind: Kind, depth: u32) -> Result<Duration, Failure> {
    front.submit(kind, depth)?;
    let start = Instant::now();
    back.wake()?;
    let took = start.elapsed();
    front.wake()?;
    assert_eq!(
        front.answered()?,
        depth,
        "null and ram disks answer at once"
    );
    Ok(took)
}

fn round_trip(c: &mut Criterion) {
    pin(0).expect("a processor to run on");
    let mut group = c.benchmark_group("round trip");
    group.throughput(Throughput::Elements(1));
    for (backing, name) in [(Backing::Null, "null read"), (Backing::Ram, "ram read")] {
        for (place, cpu) in places() {
            let rig = Rig::start().expect("a simulated host");
            let (back, mut front) = rig.apart(backing, cpu).expect("a connected device");
            for depth in DEPTHS {
                group.bench_function(BenchmarkId::new(format!("{name}, {place}"), depth), |b| {
                    b.iter_custom(|count| {
                        let start = Instant::now();
                        front
                            .load(Kind::Read, depth, count)
                            .expect("a device that serves");
                        start.elapsed()
                    });
                });
            }
            drop(front);
            back.join().expect("a backend that ends with its guest");
        }
    }
    group.finish();
}

/// Where the backend runs; the frontend is on processor 0.
fn places() -> impl Iterator<Item = (&'static str, usize)> {
    [("same processor", 0), ("two processors", 1)]
        .into_iter()
        .filter(|(_, cpu)| *cpu < processors())
}

fn ping_pong(c: &mut Criterion) {
    pin(0).expect("a processor to run on");
    let mut group = c.benchmark_group("eventfd ping-pong (floor)");
    for (place, cpu) in places() {
        let [there, back] = [0, 1].map(|_| EventFd::new(0).expect("an eventfd"));
        let [heard, answer] =
            [&there, &back].map(|eventfd| eventfd.try_clone().expect("a descriptor"));
        let echo = std::thread::spawn(move || {
            pin(cpu).expect("a processor to run on");
            while heard.read().is_ok_and(|count| count < LAST) && answer.write(1).is_ok() {}
        });
        group.bench_function(place, |b| {
            b.iter(|| there.write(1).and_then(|()| back.read()).expect("an echo"));
        });
        there.write(LAST).expect("a last word");
        echo.join().expect("an echo that ends");
    }
    group.finish();
}

fn say(name: &str, depth: u32, stats: &Stats) {
    let per = |count: u64| count as f64 / stats.requests.max(1) as f64;
    eprintln!(
        "    {name}, depth {depth}, per request: {:.3} system calls, {:.3} turns, {:.3} events in, \
         {:.3} events out",
        per(stats.system_calls),
        per(stats.turns),
        per(stats.kicks),
        per(stats.notifies),
    );
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(4)).sample_size(40);
    targets = backend, round_trip, ping_pong
}
criterion_main!(benches);
