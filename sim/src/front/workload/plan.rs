//! Which requests a load makes: kinds, sizes, places, all from one seed.
//!
//! Knows nothing of what is under way; who asks may refuse a request and ask for another.

use abi::Sector;
use abi::io::blkif::SECTORS_PER_PAGE;

use crate::front::blkfront::{Io, Kind, Properties, SECTORS_MAX};
use crate::world::Rng;

/// Sectors of a 4 KiB request.
const PAGE_SECTORS: u32 = SECTORS_PER_PAGE as u32;

/// Which requests a load makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// 44 KiB reads, one after the other.
    SequentialRead,
    /// 44 KiB writes, one after the other.
    SequentialWrite,
    /// 4 KiB reads anywhere.
    RandomRead,
    /// 4 KiB writes anywhere.
    RandomWrite,
    /// All of it, from a sector to 44 KiB, wherever in their pages, with flushes.
    Mixed,
}

/// A load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Which requests.
    pub pattern: Pattern,
    /// Decides every choice.
    pub seed: u64,
    /// How many requests are under way at once, at the most.
    pub depth: u32,
    /// It lasts for at least so many requests,
    pub requests: u64,
    /// and for at least so long.
    pub duration_ns: u64,
    /// Whether writes are allowed; a read-only disk is never written to.
    pub write: bool,
}

/// Of a thousand requests of a mixed load, so many are flushes, reads (the others write), and go on
/// where the one before ended.
const MIXED_FLUSHES: u64 = 20;
const MIXED_READS: u64 = 500;
const MIXED_SEQUENTIAL: u64 = 400;

/// The choices of a load.
#[derive(Debug)]
pub(super) struct Chooser {
    random: Rng,
    pattern: Pattern,
    write: bool,
    disk: Properties,
    /// Where the sequential part goes on, in logical sectors.
    cursor: u64,
}

impl Chooser {
    pub(super) fn new(plan: &Plan, disk: Properties) -> Self {
        let write = plan.write && !disk.read_only;
        Self {
            random: Rng::new(plan.seed),
            pattern: plan.pattern,
            write,
            disk,
            cursor: 0,
        }
    }

    /// The disk as it is now; it may have grown.
    pub(super) fn resize(&mut self, disk: Properties) {
        self.disk = disk;
    }

    /// The next request, or `None` where the disk has no room for any.
    pub(super) fn next(&mut self, token: u64) -> Option<Io> {
        let kind = self.kind();
        if kind == Kind::Flush {
            return Some(Io {
                kind,
                sector: Sector(0),
                sectors: 0,
                first_sect: 0,
                token,
            });
        }
        // All in logical sectors, of so many 512-byte ones.
        let unit = (self.disk.sector_size_bytes / 512).max(1);
        let total = self.disk.sectors.0 / u64::from(unit);
        let first = self.first_sect(unit);
        let wanted = u64::from(self.length(unit, SECTORS_MAX - u32::from(first)));
        let length = wanted.min(total);
        if length == 0 {
            return None;
        }
        let start = self.start(total, length);
        Some(Io {
            kind,
            sector: Sector(start * u64::from(unit)),
            sectors: u32::try_from(length).unwrap_or(0) * unit,
            first_sect: first,
            token,
        })
    }

    fn kind(&mut self) -> Kind {
        let kind = match self.pattern {
            Pattern::SequentialRead | Pattern::RandomRead => Kind::Read,
            Pattern::SequentialWrite | Pattern::RandomWrite => Kind::Write,
            Pattern::Mixed => match self.random.below(1000) {
                0..MIXED_FLUSHES if self.disk.flush => Kind::Flush,
                0..MIXED_READS => Kind::Read,
                _ => Kind::Write,
            },
        };
        if kind == Kind::Write && !self.write {
            Kind::Read
        } else {
            kind
        }
    }

    /// Where in its first page a request starts.
    fn first_sect(&mut self, unit: u32) -> u8 {
        if self.pattern != Pattern::Mixed {
            return 0;
        }
        let places = u64::from(PAGE_SECTORS / unit.min(PAGE_SECTORS));
        let place = self.random.below(places) * u64::from(unit);
        u8::try_from(place).unwrap_or(0)
    }

    /// How many logical sectors, of those that fit.
    fn length(&mut self, unit: u32, room: u32) -> u32 {
        let most = (room / unit).max(1);
        match self.pattern {
            Pattern::SequentialRead | Pattern::SequentialWrite => most,
            Pattern::RandomRead | Pattern::RandomWrite => (PAGE_SECTORS / unit).max(1),
            // Half of them small, so that a deep queue is not all bulk.
            Pattern::Mixed if self.random.below(2) == 0 => most.min(PAGE_SECTORS / unit).max(1),
            Pattern::Mixed => 1 + u32::try_from(self.random.below(u64::from(most))).unwrap_or(0),
        }
    }

    fn start(&mut self, total: u64, length: u64) -> u64 {
        let sequential = match self.pattern {
            Pattern::SequentialRead | Pattern::SequentialWrite => true,
            Pattern::RandomRead | Pattern::RandomWrite => false,
            Pattern::Mixed => self.random.below(1000) < MIXED_SEQUENTIAL,
        };
        let room = total - length;
        if !sequential {
            // 4 KiB requests lie on multiples of their length, as a file system's do.
            let aligned = self.pattern != Pattern::Mixed;
            let step = if aligned { length } else { 1 };
            return self.random.below(room / step + 1) * step;
        }
        let start = if self.cursor > room { 0 } else { self.cursor };
        self.cursor = start + length;
        start
    }
}
