//! How many requests a target does in a second, how long each takes, and what they cost this side.

use std::fmt;
use std::time::{Duration, Instant};

use sim::world::Rng;
use telemetry::Distribution;

use super::cpu;
use super::failure::Failure;
use super::plan::{Op, Request};
use super::queue::{Queue, Slot, Way};
use super::target::Target;
use super::{SECTOR_BYTES, load};

/// Every run makes the same choices.
const SEED: u64 = 1;

/// Where requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Anywhere, on multiples of their length.
    Random,
    /// One after the other.
    Sequential,
}

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateOrder {
    /// Where requests go.
    pub pattern: Pattern,
    /// Reads or writes.
    pub op: Op,
    /// The length of each.
    pub bytes: u64,
    /// How many are under way at once.
    pub depth: u32,
    /// No more are submitted after so long.
    pub lasts: Duration,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Rate {
    order: RateOrder,
    name: String,
    latency: Distribution,
    took: Duration,
    cpu: Duration,
}

impl Rate {
    /// How many requests were done.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.latency.count()
    }
}

/// Measures.
///
/// # Errors
/// The first error, or an order that does not fit the target.
pub fn rate(target: &Target, order: RateOrder) -> Result<Rate, Failure> {
    let mut meter = Meter::new(target, order)?;
    let before = cpu::used();
    meter.run()?;
    Ok(Rate {
        order,
        name: target.name.clone(),
        took: meter.started.elapsed(),
        cpu: cpu::used().saturating_sub(before),
        latency: meter.latency,
    })
}

struct Meter<'a> {
    target: &'a Target,
    order: RateOrder,
    queue: Queue<'a>,
    under_way: Vec<(Slot, Request, Instant)>,
    /// How many different places there are.
    places: u64,
    submitted: u64,
    random: Rng,
    latency: Distribution,
    started: Instant,
}

impl<'a> Meter<'a> {
    fn new(target: &'a Target, order: RateOrder) -> Result<Self, Failure> {
        let RateOrder { bytes, depth, .. } = order;
        let places = target.bytes.checked_div(bytes).unwrap_or(0);
        if places == 0 || !bytes.is_multiple_of(SECTOR_BYTES) {
            let refused = format!("requests of {bytes} bytes do not fit {}", target.name);
            return Err(Failure::Usage(refused));
        }
        let buffer_bytes = usize::try_from(bytes).expect("a request fits in memory");
        let queue = Queue::new(&target.file, depth, buffer_bytes);
        Ok(Self {
            target,
            order,
            queue: queue.map_err(Failure::io("making an io_uring"))?,
            under_way: Vec::new(),
            places,
            submitted: 0,
            random: Rng::new(SEED),
            latency: Distribution::default(),
            started: Instant::now(),
        })
    }

    fn run(&mut self) -> Result<(), Failure> {
        let mut now = self.started;
        loop {
            let over = now.duration_since(self.started) >= self.order.lasts;
            while let Some(slot) = self.queue.idle().filter(|_| !over) {
                self.submit(slot, now);
            }
            if self.under_way.is_empty() {
                return Ok(());
            }
            let waited = self.queue.wait();
            let (slot, result) = waited.map_err(Failure::io("waiting for a request"))?;
            now = Instant::now();
            let at = self.under_way.iter().position(|(other, ..)| *other == slot);
            let (_, request, submitted) = self.under_way.swap_remove(at.expect("was submitted"));
            load::whole(self.target, &request, result)?;
            let lasted_ns = now.duration_since(submitted).as_nanos();
            self.latency
                .record(u64::try_from(lasted_ns).unwrap_or(u64::MAX));
        }
    }

    fn submit(&mut self, slot: Slot, now: Instant) {
        let place = match self.order.pattern {
            Pattern::Random => self.random.below(self.places),
            Pattern::Sequential => self.submitted % self.places,
        };
        self.submitted += 1;
        let way = match self.order.op {
            Op::Read => Way::Read,
            Op::Write => Way::Write,
        };
        let sectors = self.order.bytes / SECTOR_BYTES;
        let request = Request {
            op: self.order.op,
            sector: place * sectors,
            sectors,
        };
        let offset = place * self.order.bytes;
        self.queue.submit(slot, way, offset, load::length(&request));
        self.under_way.push((slot, request, now));
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { order, name, .. } = self;
        let pattern = match order.pattern {
            Pattern::Random => "rand",
            Pattern::Sequential => "seq",
        };
        let op = match order.op {
            Op::Read => "read",
            Op::Write => "write",
        };
        let (requests, seconds) = (self.requests(), self.took.as_secs_f64());
        let megabytes = order.bytes.saturating_mul(requests) as f64 / 1e6;
        write!(
            f,
            "rate {name} {pattern} {op} bs={} depth={} requests={requests} secs={seconds:.2} \
             iops={:.1} MB/s={:.2} latency_avg_us={} latency_max_us={} cpu_s={:.2}",
            order.bytes,
            order.depth,
            requests as f64 / seconds,
            megabytes / seconds,
            self.latency.mean_ns() / 1000,
            self.latency.max_ns() / 1000,
            self.cpu.as_secs_f64(),
        )
    }
}
