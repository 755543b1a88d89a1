//! What a guest process is told over stdin and what it says on stdout: JSON, one value per line.
//!
//! All guests of a demo write to one pipe. Invariant: a line fits in PIPE_BUF (4096 bytes), so the
//! kernel keeps lines of different guests apart.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sim::front::Plan;
use sim::front::workload::Counts;
use telemetry::Distribution;

/// An order to a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Run a load on every disk and report [`Said::Ran`].
    Run(Load),
    /// Write what every block of the disk must hold to a file, and report [`Said::Dumped`].
    Dump {
        /// Where to.
        path: PathBuf,
    },
    /// Close every disk, give every grant back, and report [`Said::Closed`].
    Close,
    /// Connect every disk again and report [`Said::Connected`].
    Connect,
}

/// A load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Which requests.
    pub pattern: Pattern,
    /// Decides every choice.
    pub seed: u64,
    /// Requests under way at once.
    pub depth: u32,
    /// At least so many requests,
    pub requests: u64,
    /// and for at least so long.
    pub seconds: u64,
    /// Whether the disks may be written to.
    pub write: bool,
}

/// Which requests a load makes; the words for [`sim::front::Pattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// 44 KiB reads, one after the other.
    SequentialRead,
    /// 44 KiB writes, one after the other.
    SequentialWrite,
    /// 4 KiB reads anywhere.
    RandomRead,
    /// 4 KiB writes anywhere.
    RandomWrite,
    /// All of it, of every size, with flushes.
    Mixed,
}

impl Load {
    /// As the workload wants it.
    #[must_use]
    pub fn plan(&self) -> Plan {
        Plan {
            pattern: match self.pattern {
                Pattern::SequentialRead => sim::front::Pattern::SequentialRead,
                Pattern::SequentialWrite => sim::front::Pattern::SequentialWrite,
                Pattern::RandomRead => sim::front::Pattern::RandomRead,
                Pattern::RandomWrite => sim::front::Pattern::RandomWrite,
                Pattern::Mixed => sim::front::Pattern::Mixed,
            },
            seed: self.seed,
            depth: self.depth,
            requests: self.requests,
            duration_ns: self.seconds.saturating_mul(1_000_000_000),
            write: self.write,
        }
    }
}

/// What a guest says, and which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The guest.
    pub domid: u16,
    /// What it says.
    pub said: Said,
}

/// See [`Line`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// Every disk is connected.
    Connected {
        /// Sizes of the disks, in 512-byte sectors.
        sectors: Vec<u64>,
    },
    /// So many requests of the present load are answered.
    Progress {
        /// Answered.
        requests: u64,
    },
    /// A load is done.
    Ran(Ran),
    /// The model is written.
    Dumped,
    /// Every disk is closed.
    Closed {
        /// Grants that a backend still holds; none may.
        grants_in_use: u64,
    },
    /// Something that ends the guest, in one line.
    Failed(String),
}

/// What became of a load, on all disks of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// Requests answered.
    pub requests: u64,
    /// Of these, flushes.
    pub flushes: u64,
    /// Requests answered with an error, or never.
    pub failed: u64,
    /// Bytes read and written.
    pub bytes: u64,
    /// Bytes read and found as they must be.
    pub verified_bytes: u64,
    /// Sectors read and found otherwise.
    pub mismatched_sectors: u64,
    /// What the backend did against the protocol.
    pub violations: u64,
    /// From the first request to the last answer.
    pub elapsed_ns: u64,
    /// Times to answer: the start of a bucket in ns and the count in it, empty buckets left out.
    pub latencies: Vec<(u64, u64)>,
}

impl Ran {
    /// Adds what became of one disk.
    pub fn add(&mut self, counts: &Counts, violations: usize) {
        self.requests += counts.requests;
        self.flushes += counts.flushes;
        self.failed += counts.errors + counts.unsupported + counts.lost;
        self.bytes += counts.bytes;
        self.verified_bytes += counts.verified_bytes;
        self.mismatched_sectors += counts.mismatched;
        self.violations += violations as u64;
        self.elapsed_ns = self
            .elapsed_ns
            .max(counts.last_ns.saturating_sub(counts.first_ns));
        self.latencies.extend(counts.latency.entries());
    }

    /// The times to answer.
    #[must_use]
    pub fn latency(&self) -> Distribution {
        let mut all = Distribution::default();
        for (ns, count) in &self.latencies {
            all.record_many(*ns, *count);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_report_fits_into_one_atomic_write() {
        let latencies = vec![(u64::MAX >> 20, 1_000_000); 122];
        let ran = Ran {
            bytes: u64::MAX,
            elapsed_ns: u64::MAX,
            latencies,
            ..Ran::default()
        };
        let line = serde_json::to_vec(&Line {
            domid: u16::MAX,
            said: Said::Ran(ran),
        })
        .unwrap();
        assert!(line.len() < 4096, "{} bytes", line.len());
    }
}
