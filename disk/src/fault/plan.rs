//! Which operation fails, and how: a list of rules, or a seed.
//!
//! Pure: an operation in, a fault out. It touches no disk.
//! Invariant: the same plan asked about the same operations, in order, gives the same answers.

use std::ops::Range;

use super::transfers;
use crate::{Op, OpKind};

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO, and nothing happened.
    Error,
    /// The first half happened, then the storage ended: [`crate::DiskError::Truncated`].
    Short,
    /// The first half happened, then EIO: what a write that was cut off leaves.
    Torn,
    /// It does not end until it is released; then it happens as if nothing had been.
    Hang,
}

impl Fault {
    /// Every fault, in the order of its number.
    pub const ALL: [Self; 4] = [Self::Error, Self::Short, Self::Torn, Self::Hang];
}

/// One line of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What happens.
    pub fault: Fault,
    /// To which kind of operation; `None` means reads and writes.
    pub kind: Option<OpKind>,
    /// To operations that touch one of these 512-byte sectors; a flush touches none and all.
    pub sectors: Range<u64>,
    /// How often; `u32::MAX` stands for always.
    pub times: u32,
}

/// How many operations of a thousand fail in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// [`Fault::Error`].
    pub error: u16,
    /// [`Fault::Short`]; for a flush, an error.
    pub short: u16,
    /// [`Fault::Torn`]; for a flush, an error.
    pub torn: u16,
    /// [`Fault::Hang`].
    pub hang: u16,
}

/// Which operations fail.
#[derive(Clone, Debug)]
pub enum Plan {
    /// The first rule that matches and is not used up.
    Script(Vec<Rule>),
    /// By chance, from this state of the generator.
    Seeded {
        /// The seed; moves on with every operation.
        seed: u64,
        /// The chances.
        rates: Rates,
    },
}

impl Rule {
    /// Every read and write of the disk, always.
    pub fn always(fault: Fault) -> Self {
        Self {
            fault,
            kind: None,
            sectors: 0..u64::MAX,
            times: u32::MAX,
        }
    }

    fn matches(&self, op: &Op) -> bool {
        let end = op.sector.0 + (op.len_bytes / abi::SECTOR_SIZE) as u64;
        let touches = op.sector.0 < self.sectors.end && self.sectors.start < end;
        let kind = self.kind.map_or(transfers(op), |kind| kind == op.kind);
        self.times > 0 && kind && (touches || !transfers(op))
    }

    fn use_up(&mut self) -> Fault {
        if self.times != u32::MAX {
            self.times -= 1;
        }
        self.fault
    }
}

impl Plan {
    /// No faults.
    pub fn none() -> Self {
        Self::Script(Vec::new())
    }

    /// Decides about one operation, whose range lies within the disk.
    pub(super) fn draw(&mut self, op: &Op) -> Option<Fault> {
        let fault = match self {
            Self::Script(rules) => rules.iter_mut().find(|rule| rule.matches(op))?.use_up(),
            Self::Seeded { seed, rates } => rates.pick(next(seed) % 1000)?,
        };
        let whole = transfers(op) || fault == Fault::Hang;
        Some(if whole { fault } else { Fault::Error })
    }
}

impl Rates {
    fn pick(self, mut roll: u64) -> Option<Fault> {
        let chances = [self.error, self.short, self.torn, self.hang].map(u64::from);
        for (fault, chance) in Fault::ALL.into_iter().zip(chances) {
            match roll.checked_sub(chance) {
                Some(rest) => roll = rest,
                None => return Some(fault),
            }
        }
        None
    }
}

/// One step of splitmix64: every seed, 0 too, gives a full-length sequence.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
