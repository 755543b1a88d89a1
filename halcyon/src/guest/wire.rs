//! What a guest process is told over stdin and what it says on stdout: JSON, one value per line.
//!
//! All guests of a demo write to one pipe. Invariant: a line fits in PIPE_BUF (4096 bytes), so the
//! kernel keeps lines of different guests apart.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
    /// At least so many of them,
    pub requests: u64,
    /// and for at least so long.
    pub seconds: u64,
}

/// Which requests a load makes.
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

/// What became of a load.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// Requests answered.
    pub requests: u64,
    /// Of these, flushes.
    pub flushes: u64,
    /// Requests answered with an error.
    pub errors: u64,
    /// Bytes read and written.
    pub bytes: u64,
    /// Bytes read and found as they must be.
    pub verified_bytes: u64,
    /// Blocks read and found otherwise.
    pub mismatched_blocks: u64,
    /// Nanoseconds from the first request to the last answer.
    pub elapsed_ns: u64,
    /// Times to answer: the start of a bucket in ns and the count in it, empty buckets left out.
    pub latencies: Vec<(u64, u64)>,
}
