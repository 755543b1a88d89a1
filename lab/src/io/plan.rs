//! Which requests a verified load makes, all from one seed; so that what it leaves behind can be
//! told without having seen it.

use std::ops::Range;

use sim::world::Rng;

use super::SECTOR_BYTES;
use super::failure::Failure;
use super::target::Target;

/// Of a thousand requests, so many write, and so many go on where the one before ended.
const WRITES: u64 = 550;
const SEQUENTIAL: u64 = 300;
/// Half of all requests have at most so many sectors, as most of a file system's.
const SMALL_SECTORS: u64 = 8;

/// A verified load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Decides every choice and all data.
    pub seed: u64,
    /// How many requests.
    pub requests: u64,
    /// The longest of them.
    pub bytes_max: u64,
    /// The part of the target that it stays in; the whole where nothing is said.
    pub range: Option<Range<u64>>,
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Reads, and compares.
    Read,
    /// Writes the next generation of each sector.
    Write,
}

/// A request, in sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it does.
    pub op: Op,
    /// Its first sector.
    pub sector: u64,
    /// How many.
    pub sectors: u64,
}

impl Request {
    /// Its sectors.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.sector..self.sector + self.sectors
    }

    /// Whether both touch a sector.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (one, other) = (self.range(), other.range());
        one.start < other.end && other.start < one.end
    }
}

/// The requests of a load, in the order in which they are submitted.
#[derive(Debug)]
pub struct Plan {
    random: Rng,
    left: u64,
    /// All below is counted in units, the smallest request.
    unit_sectors: u64,
    range: Range<u64>,
    units_max: u64,
    cursor: u64,
}

impl Plan {
    /// The requests of `order` on `target`.
    ///
    /// # Errors
    /// The order does not fit the target.
    pub fn new(order: &Order, target: &Target) -> Result<Self, Failure> {
        let bytes = target.part(order.range.clone())?;
        Self::within(order, bytes, target.unit_bytes)
    }

    /// The requests of `order` in a range of bytes, made of units.
    fn within(order: &Order, bytes: Range<u64>, unit_bytes: u64) -> Result<Self, Failure> {
        let range = bytes.start.div_ceil(unit_bytes)..bytes.end / unit_bytes;
        let units_max = (order.bytes_max / unit_bytes).min(range.end.saturating_sub(range.start));
        if units_max == 0 {
            return Err(Failure::Usage(format!(
                "no request of {unit_bytes} bytes fits in {bytes:?} with at most {} bytes each",
                order.bytes_max
            )));
        }
        Ok(Self {
            random: Rng::new(order.seed),
            left: order.requests,
            unit_sectors: unit_bytes / SECTOR_BYTES,
            cursor: range.start,
            range,
            units_max,
        })
    }

    /// The sectors that requests can touch.
    #[must_use]
    pub fn sectors(&self) -> Range<u64> {
        self.range.start * self.unit_sectors..self.range.end * self.unit_sectors
    }

    /// The bytes of the longest request.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        let bytes = self.units_max * self.unit_sectors * SECTOR_BYTES;
        usize::try_from(bytes).expect("a request fits in memory")
    }

    fn units(&mut self) -> u64 {
        let small = (SMALL_SECTORS / self.unit_sectors).max(1);
        match self.random.below(2) {
            0 => 1 + self.random.below(small.min(self.units_max)),
            _ => 1 + self.random.below(self.units_max),
        }
    }

    fn start(&mut self, units: u64) -> u64 {
        let last = self.range.end - units;
        let sequential = self.random.below(1000) < SEQUENTIAL;
        if sequential && self.cursor <= last {
            return self.cursor;
        }
        self.range.start + self.random.below(last - self.range.start + 1)
    }
}

impl Iterator for Plan {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        self.left = self.left.checked_sub(1)?;
        let op = match self.random.below(1000) {
            0..WRITES => Op::Write,
            _ => Op::Read,
        };
        let units = self.units();
        let start = self.start(units);
        self.cursor = start + units;
        Some(Request {
            op,
            sector: start * self.unit_sectors,
            sectors: units * self.unit_sectors,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(seed: u64) -> Order {
        Order {
            seed,
            requests: 5000,
            bytes_max: 65536,
            range: None,
        }
    }

    fn plan(seed: u64, bytes: Range<u64>, unit_bytes: u64) -> Plan {
        Plan::within(&order(seed), bytes, unit_bytes).unwrap()
    }

    #[test]
    fn one_seed_is_one_plan() {
        assert!(plan(3, 0..1 << 20, 512).eq(plan(3, 0..1 << 20, 512)));
        assert!(plan(3, 0..1 << 20, 512).ne(plan(4, 0..1 << 20, 512)));
    }

    #[test]
    fn every_request_lies_in_the_range_and_is_made_of_units() {
        let plan = plan(5, 4096 * 3..1 << 20, 4096);
        let wrong = plan.into_iter().find(|request| {
            let Range { start, end } = request.range();
            start < 24 || end > 2048 || start % 8 != 0 || end % 8 != 0 || request.sectors > 128
        });
        assert_eq!(wrong, None);
    }

    #[test]
    fn a_range_cut_in_the_middle_of_a_unit_loses_it() {
        let plan = plan(5, 100..8192 + 100, 4096);
        assert_eq!(plan.sectors(), 8..16);
    }

    #[test]
    fn a_range_without_a_whole_unit_is_refused() {
        let refused = Plan::within(&order(1), 100..5000, 4096);
        assert!(matches!(refused, Err(Failure::Usage(_))), "{refused:?}");
    }
}
