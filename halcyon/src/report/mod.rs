//! What `halcyon demo` found: the numbers, their table, and whether all of it was as it must be.
//!
//! It measures nothing. Invariant: a report that is not [`Report::is_good`] says in `faults` why.

use serde::Serialize;

use crate::proc::memory::Private;

pub mod table;

/// Everything that one demo run found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Which machine, in one line.
    pub host: String,
    /// What the guests' disks were.
    pub disk: String,
    /// Seed of the workload.
    pub seed: u64,
    /// Guests, each with its own process.
    pub vms: u32,
    /// From the first process started to the last disk connected.
    pub start_seconds: f64,
    /// The loads, in the order they ran.
    pub loads: Vec<Load>,
    /// Each stretch of idleness.
    pub idle: Vec<Idle>,
    /// Memory of the VM processes after the load.
    pub memory: Memory,
    /// A guest's new kernel takes over its disk: from closing it to having it again.
    pub reconnect_ms: Option<f64>,
    /// A reboot as xl does it, with a new domain and a new process: from the order to shut down to
    /// having the disk again.
    pub reboot_ms: Option<f64>,
    /// The final comparison of the image with what the guest says it wrote.
    pub verified: Verified,
    /// Everything that was not as it must be; empty when all is well.
    pub faults: Vec<String>,
}

impl Report {
    /// Whether nothing mismatched and nothing leaked.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.faults.is_empty()
    }
}

/// One load and what it cost the VM processes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Load {
    /// What it was, in words.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// Requests answered.
    pub requests: u64,
    /// Of these, flushes.
    pub flushes: u64,
    /// Bytes read and written.
    pub bytes: u64,
    /// Time to answer, over all guests, in µs.
    pub p50_us: f64,
    /// See `p50_us`.
    pub p99_us: f64,
    /// See `p50_us`.
    pub p999_us: f64,
    /// Processor time of the VM processes, every task.
    pub cpu_us_per_request: f64,
    /// System calls of the VM processes, helpers included.
    pub system_calls_per_request: f64,
    /// Events sent to guests.
    pub notifications_per_request: f64,
}

impl Load {
    /// Requests per second.
    #[must_use]
    pub fn iops(&self) -> f64 {
        ratio(self.requests, self.seconds)
    }

    /// Megabytes (10^6 bytes) per second.
    #[must_use]
    pub fn mb_per_s(&self) -> f64 {
        ratio(self.bytes, self.seconds) / 1e6
    }
}

/// A stretch without work.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Idle {
    /// How long.
    pub seconds: f64,
    /// Tasks watched.
    pub tasks: usize,
    /// Their context switches meanwhile; 0 is the only good number.
    pub context_switches: u64,
}

/// What the VM processes cost in memory.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Memory {
    /// The process that costs most.
    pub largest: Private,
    /// Sum of the largest.
    pub largest_kib: u64,
    /// Mean over all.
    pub mean_kib: u64,
    /// Fall of MemAvailable from before the first guest, divided by the guests; it contains the
    /// guests' processes and what they touched of their memory.
    pub available_fall_kib_per_vm: i64,
}

/// The final comparison.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verified {
    /// Bytes that the guests compared while reading.
    pub by_guests_bytes: u64,
    /// Bytes of the images compared with the guests' models afterwards.
    pub by_reader_bytes: u64,
    /// Sectors that differed, in either.
    pub mismatched_sectors: u64,
}

/// A count per unit, as a float; 0 of 0.
#[must_use]
pub fn ratio(count: u64, per: f64) -> f64 {
    if per > 0.0 { count as f64 / per } else { 0.0 }
}
