//! What becomes of a load.

use abi::Sector;
use telemetry::Distribution;

/// Whether a load has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Requests are under way, or can be submitted in the next step.
    Running,
    /// All that was planned is answered.
    Finished,
    /// The frontend is not connected and nothing is under way.
    Stuck,
}

/// A sector that did not hold what it must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Which.
    pub sector: Sector,
    /// The generation that it should have held, [`super::UNCERTAIN`] where there were several.
    pub generation: u32,
    /// Its first bytes.
    pub found: [u8; 16],
}

/// What became of a load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests answered or lost, of all kinds.
    pub requests: u64,
    /// Of these, reads.
    pub reads: u64,
    /// Of these, writes.
    pub writes: u64,
    /// Of these, flushes.
    pub flushes: u64,
    /// Answered with an error.
    pub errors: u64,
    /// Of these, writes and flushes after a flush had failed in the same connection.
    pub errors_after_flush: u64,
    /// Writes and flushes that were acknowledged all the same: durable they may not be.
    pub acknowledged_after_flush: u64,
    /// Answered with EOPNOTSUPP.
    pub unsupported: u64,
    /// Never answered.
    pub lost: u64,
    /// Bytes of successful reads and writes.
    pub bytes: u64,
    /// Bytes read and found as they must be.
    pub verified_bytes: u64,
    /// Sectors read and found otherwise.
    pub mismatched: u64,
    /// From submission to answer.
    pub latency: Distribution,
    /// When the first request was submitted.
    pub first_ns: u64,
    /// When the last answer was seen.
    pub last_ns: u64,
}
