//! What is counted, and what of it is also said aloud.
//!
//! One telemetry block per device. Whatever a guest can bring about at will is counted always and
//! logged through a limiter. Knows nothing of rings. Invariant: a request is counted in exactly one
//! row: served by operation, refused by cause, or failed by cause.

use abi::io::blkif::Operation;
use disk::DiskError;
use reactor::Nanos;
use telemetry::{Block, Builder, Counter, Histogram, RateLimit, Verdict};
use xen::GrantStatus;

use crate::inflight::Entry;
use crate::report::Refusal;
use crate::request::Refused;

/// Lines about requests that fail, of each kind: one says it, and the next says how many were left
/// out.
const REQUEST_BURST: u32 = 1;
/// Lines about the device at once.
const DEVICE_BURST: u32 = 5;
/// After which one more may pass.
const LOG_INTERVAL_NS: Nanos = 10_000_000_000;

/// What a device has served so far, for those who report it elsewhere in their own words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reads that succeeded.
    pub reads: u64,
    /// Writes that succeeded.
    pub writes: u64,
    /// Flushes that succeeded.
    pub flushes: u64,
    /// Bytes that reads gave to the guest.
    pub read_bytes: u64,
    /// Bytes that writes took from the guest.
    pub write_bytes: u64,
    /// How long the reads took together, from take to put.
    pub read_ns: u64,
    /// How long the writes took together.
    pub write_ns: u64,
    /// How long the flushes took together.
    pub flush_ns: u64,
    /// Requests that the storage failed.
    pub disk_errors: u64,
}

/// Rows of one operation.
struct Served {
    requests: Counter,
    latency: Histogram,
}

impl Served {
    fn new(builder: &mut Builder, requests: &str, latency: &str) -> Self {
        Self {
            requests: builder.counter(requests),
            latency: builder.histogram(latency),
        }
    }
}

/// See the head of this file.
pub(crate) struct Stats {
    /// For log lines: `vbd3/7/51712`.
    device: String,
    /// Of lines about requests that the guest brings to fail.
    guest_log: RateLimit,
    /// Of lines about requests that the storage fails; apart, so that the guest cannot hide them.
    disk_log: RateLimit,
    /// Of lines about the device; apart for the same reason.
    device_log: RateLimit,
    read: Served,
    write: Served,
    flush: Served,
    read_bytes: Counter,
    write_bytes: Counter,
    refused: [Counter; Refused::ALL.len()],
    grant_errors: Counter,
    disk_errors: Counter,
    strays: Counter,
    in_flight: Counter,
    batches: Counter,
    notifies: Counter,
    notifies_hushed: Counter,
    notify_errors: Counter,
    kicks: Counter,
    connects: Counter,
    corrupt_rings: Counter,
    _block: Block,
}

impl Stats {
    pub(crate) fn new(device: String, mut builder: Builder) -> Self {
        let b = &mut builder;
        Self {
            device,
            guest_log: RateLimit::new(REQUEST_BURST, LOG_INTERVAL_NS, 0),
            disk_log: RateLimit::new(REQUEST_BURST, LOG_INTERVAL_NS, 0),
            device_log: RateLimit::new(DEVICE_BURST, LOG_INTERVAL_NS, 0),
            read: Served::new(b, "reads", "read_latency"),
            write: Served::new(b, "writes", "write_latency"),
            flush: Served::new(b, "flushes", "flush_latency"),
            read_bytes: b.counter("read_bytes"),
            write_bytes: b.counter("write_bytes"),
            refused: Refused::ALL.map(|cause| b.counter(cause.name())),
            grant_errors: b.counter("grant_errors"),
            disk_errors: b.counter("disk_errors"),
            strays: b.counter("stray_completions"),
            in_flight: b.counter("in_flight"),
            batches: b.counter("batches"),
            notifies: b.counter("notifies"),
            notifies_hushed: b.counter("notifies_hushed"),
            notify_errors: b.counter("notify_errors"),
            kicks: b.counter("kicks"),
            connects: b.counter("connects"),
            corrupt_rings: b.counter("corrupt_rings"),
            _block: builder.publish(),
        }
    }

    /// What was served so far.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            reads: self.read.requests.get(),
            writes: self.write.requests.get(),
            flushes: self.flush.requests.get(),
            read_bytes: self.read_bytes.get(),
            write_bytes: self.write_bytes.get(),
            read_ns: self.read.latency.sum_ns(),
            write_ns: self.write.latency.sum_ns(),
            flush_ns: self.flush.latency.sum_ns(),
            disk_errors: self.disk_errors.get(),
        }
    }

    /// Requests were found and are taken together.
    pub(crate) fn batch(&self) {
        self.batches.add(1);
    }

    /// A request was executed; its time runs from take to put.
    pub(crate) fn served(&self, entry: &Entry, now: Nanos) {
        let (served, bytes) = match entry.operation() {
            Operation::READ => (&self.read, Some(&self.read_bytes)),
            Operation::WRITE => (&self.write, Some(&self.write_bytes)),
            _ => (&self.flush, None),
        };
        served.requests.add(1);
        served.latency.record(now.saturating_sub(entry.taken_ns));
        if let Some(bytes) = bytes {
            bytes.add(u64::from(entry.len_bytes));
        }
    }

    /// A request was not executed.
    pub(crate) fn refused(&self, cause: Refused) {
        let row = Refused::ALL.iter().position(|known| *known == cause);
        if let Some(counter) = row.and_then(|row| self.refused.get(row)) {
            counter.add(1);
        }
    }

    /// The guest's pages could not be copied.
    pub(crate) fn grant_error(&mut self, now: Nanos, status: GrantStatus) {
        self.grant_errors.add(1);
        if let Verdict::Pass { suppressed } = self.guest_log.check(now) {
            let why = format_args!("grant copy refused with status {}", status.0);
            self.say(suppressed, &why);
        }
    }

    /// The storage failed a request.
    pub(crate) fn disk_error(&mut self, now: Nanos, error: DiskError) {
        self.disk_errors.add(1);
        if let Verdict::Pass { suppressed } = self.disk_log.check(now) {
            self.say(suppressed, &error);
        }
    }

    /// The storage failed a flush, the first of this connection.
    pub(crate) fn flush_failed(&mut self, now: Nanos, error: DiskError) {
        self.disk_errors.add(1);
        if let Verdict::Pass { suppressed } = self.device_log.check(now) {
            let device = &self.device;
            tracing::error!(
                %device, suppressed,
                "flush failed: {error}; writes are refused until the guest connects anew"
            );
        }
    }

    /// The disk completed what was not under way.
    pub(crate) fn stray(&self) {
        self.strays.add(1);
    }

    /// How many requests are taken and not answered.
    pub(crate) fn in_flight(&self, count: usize) {
        self.in_flight.set(count as u64);
    }

    /// The guest was to be told of responses.
    pub(crate) fn notified(&mut self, now: Nanos, sent: Result<(), evtchn::Error>) {
        match sent {
            Ok(()) => self.notifies.add(1),
            Err(error) => {
                self.notify_errors.add(1);
                if let Verdict::Pass { suppressed } = self.guest_log.check(now) {
                    self.say(suppressed, &error);
                }
            }
        }
    }

    /// The guest did not want to be told.
    pub(crate) fn hushed(&self) {
        self.notifies_hushed.add(1);
    }

    /// The guest told us.
    pub(crate) fn kicked(&self) {
        self.kicks.add(1);
    }

    /// A ring was attached.
    pub(crate) fn connected(&self) {
        self.connects.add(1);
    }

    /// A ring made no sense.
    pub(crate) fn corrupt(&self) {
        self.corrupt_rings.add(1);
    }

    /// The device as a whole is not served.
    pub(crate) fn not_served(&mut self, now: Nanos, refusal: &Refusal) {
        if let Verdict::Pass { suppressed } = self.device_log.check(now) {
            tracing::error!(device = %self.device, suppressed, "not served: {refusal}");
        }
    }

    /// Closing takes as long as the disk does.
    pub(crate) fn waiting(&mut self, now: Nanos, in_disk: usize) {
        if let Verdict::Pass { suppressed } = self.device_log.check(now) {
            let device = &self.device;
            tracing::warn!(%device, suppressed, "closing: {in_disk} requests still in the disk");
        }
    }

    fn say(&self, suppressed: u64, what: &dyn std::fmt::Display) {
        tracing::warn!(device = %self.device, suppressed, "request failed: {what}");
    }
}
