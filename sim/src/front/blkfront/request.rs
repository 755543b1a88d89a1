//! A request as the owner of a frontend sees it, from the asking to the outcome.
//!
//! Knows the limits of a slot and nothing of how requests travel.

use abi::Sector;
use abi::io::blkif::{Operation, SECTORS_PER_PAGE, Status};

/// Most sectors of one request: eleven pages.
pub const SECTORS_MAX: u32 = 88;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Read.
    Read,
    /// Write.
    Write,
    /// Flush; its range is ignored.
    Flush,
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io {
    /// Do what.
    pub kind: Kind,
    /// From where on the disk.
    pub sector: Sector,
    /// How much: with `first_sect` at most [`SECTORS_MAX`], 0 for a flush alone.
    pub sectors: u32,
    /// Where in its first page the data starts, below 8.
    pub first_sect: u8,
    /// The owner's name for it.
    pub token: u64,
}

/// A request that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The request.
    pub io: Io,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend answered.
    Answered(Status),
    /// The connection ended before it was answered: a write may have happened or not.
    Lost,
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not connected.
    #[error("the frontend is not connected")]
    NotConnected,
    /// All slots are in use.
    #[error("the ring is full")]
    RingFull,
    /// The guest has no free frame or grant.
    #[error("the guest is out of frames or grants")]
    NoMemory,
    /// No data, or more than eleven pages hold.
    #[error("a request of an impossible size")]
    Size,
}

impl Kind {
    /// As it goes on the wire.
    pub fn operation(self) -> Operation {
        match self {
            Self::Read => Operation::READ,
            Self::Write => Operation::WRITE,
            Self::Flush => Operation::FLUSH_DISKCACHE,
        }
    }
}

impl Io {
    /// Pages that it needs, or `None` if it is of an impossible size.
    pub fn pages(&self) -> Option<usize> {
        if self.kind == Kind::Flush {
            return Some(0);
        }
        let end = self.sectors.checked_add(u32::from(self.first_sect))?;
        let possible = self.sectors > 0 && self.first_sect < SECTORS_PER_PAGE && end <= SECTORS_MAX;
        possible.then(|| end.div_ceil(u32::from(SECTORS_PER_PAGE)) as usize)
    }
}
