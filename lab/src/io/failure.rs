//! How a load can fail: it was asked for something impossible, the device answered with an error, or
//! it answered with the wrong data.

use std::fmt;
use std::io;

/// Why there is no good result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What was asked for cannot be done.
    #[error("{0}")]
    Usage(String),
    /// The device or the system refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The refusal.
        source: io::Error,
    },
    /// A sector did not hold what it must.
    #[error("{0}")]
    Mismatch(Mismatch),
}

impl Failure {
    /// A refusal by the system while doing that.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        |source| Self::Io { doing, source }
    }

    /// The exit code of the tool: 1 for I/O errors, 2 for bad usage, 3 for wrong data.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Io { .. } => 1,
            Self::Usage(_) => 2,
            Self::Mismatch(_) => 3,
        }
    }
}

/// A sector that did not hold what it must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Which.
    pub sector: u64,
    /// How often it had been written.
    pub generation: u32,
    /// What it held.
    pub found: Content,
}

/// What a sector turned out to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Only zeroes.
    Zeroes,
    /// What a sector (this or another) held, or was to hold, after so many writes.
    Stamp {
        /// The sector it belongs to.
        sector: u64,
        /// The write it belongs to.
        generation: u32,
    },
    /// Something that this load never wrote; the first bytes of it.
    Foreign([u8; 16]),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sector,
            generation,
            found,
        } = self;
        write!(
            f,
            "sector {sector} must hold generation {generation} and holds {found}"
        )
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zeroes => f.write_str("zeroes"),
            Self::Stamp { sector, generation } => {
                write!(f, "generation {generation} of sector {sector}")
            }
            Self::Foreign(first) => {
                f.write_str("something foreign that starts with ")?;
                first.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}
