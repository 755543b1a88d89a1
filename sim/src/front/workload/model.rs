//! What a disk must hold: a generation per sector.
//!
//! A write that failed or was lost may have happened or not; its sectors have several possible
//! contents until they are written again. Knows no frontend.
//!
//! Invariant: a generation number is used for at most one write of a sector.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};

use abi::Sector;

use super::stamp::{Block, stamp};

/// The dumped generation of a sector whose content is not certain.
pub const UNCERTAIN: u32 = u32::MAX;

/// Tells what a sector held at first.
pub type Source = Box<dyn FnMut(Sector, &mut Block) + Send>;

/// What the disk held before anything was written.
pub enum Initial {
    /// Zeroes, as a sparse file.
    Zeroes,
    /// Stamps of generation 0.
    Stamps,
    /// What this says.
    Given(Source),
    /// Nobody knows: a sector that was never written may hold anything.
    Unknown,
}

impl fmt::Debug for Initial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zeroes => "Zeroes",
            Self::Stamps => "Stamps",
            Self::Given(_) => "Given",
            Self::Unknown => "Unknown",
        })
    }
}

/// The model of one disk.
#[derive(Debug)]
pub struct Model {
    disk_seed: u64,
    initial: Initial,
    /// Per sector: the generation last acknowledged.
    generations: Vec<u32>,
    /// Sectors with several possible contents, beside the acknowledged one.
    possible: BTreeMap<u64, Vec<u32>>,
}

impl Model {
    /// An unwritten disk.
    pub fn new(disk_seed: u64, sectors: Sector, initial: Initial) -> Self {
        let sectors = usize::try_from(sectors.0).expect("a disk whose model fits in memory");
        let generations = vec![0; sectors];
        Self {
            disk_seed,
            initial,
            generations,
            possible: BTreeMap::new(),
        }
    }

    /// How large the disk is.
    pub fn sectors(&self) -> Sector {
        Sector(self.generations.len() as u64)
    }

    /// The disk has grown; new sectors hold what [`Initial`] says. It never shrinks.
    pub fn grow(&mut self, sectors: Sector) {
        let sectors = usize::try_from(sectors.0).expect("a disk whose model fits in memory");
        self.generations
            .resize(sectors.max(self.generations.len()), 0);
    }

    /// The generation that the next write of a sector gets.
    pub fn next_generation(&self, sector: Sector) -> u32 {
        let acknowledged = self.generation(sector);
        let possible = self.possible.get(&sector.0).into_iter().flatten();
        possible
            .fold(acknowledged, |max, one| max.max(*one))
            .wrapping_add(1)
    }

    /// Whether it is known what a sector may hold.
    pub fn knows(&self, sector: Sector) -> bool {
        !matches!(self.initial, Initial::Unknown) || self.generation(sector) > 0
    }

    /// What a sector holds in a generation; zeroes where nobody knows.
    pub fn content(&mut self, sector: Sector, generation: u32) -> Block {
        match &mut self.initial {
            _ if generation > 0 => stamp(self.disk_seed, sector, generation),
            Initial::Stamps => stamp(self.disk_seed, sector, 0),
            Initial::Zeroes | Initial::Unknown => [0; abi::SECTOR_SIZE],
            Initial::Given(given) => {
                let mut block = [0; abi::SECTOR_SIZE];
                given(sector, &mut block);
                block
            }
        }
    }

    /// A write of that generation is acknowledged: the sector holds it and nothing else.
    pub fn written(&mut self, sector: Sector, generation: u32) {
        if let Some(known) = self.slot(sector) {
            *known = generation;
            self.possible.remove(&sector.0);
        }
    }

    /// A write of that generation may have happened.
    pub fn maybe_written(&mut self, sector: Sector, generation: u32) {
        if self.slot(sector).is_some() {
            self.possible.entry(sector.0).or_default().push(generation);
        }
    }

    /// Whether a sector may hold this.
    pub fn admits(&mut self, sector: Sector, block: &Block) -> bool {
        let acknowledged = self.generation(sector);
        if self.content(sector, acknowledged) == *block {
            return true;
        }
        let possible = self.possible.get(&sector.0).cloned().unwrap_or_default();
        possible
            .into_iter()
            .any(|generation| self.content(sector, generation) == *block)
    }

    /// The generation of a sector, [`UNCERTAIN`] where there are several.
    pub fn certain(&self, sector: Sector) -> u32 {
        if self.possible.contains_key(&sector.0) {
            UNCERTAIN
        } else {
            self.generation(sector)
        }
    }

    /// Writes one little-endian 32-bit generation per sector, [`UNCERTAIN`] where there are several.
    pub fn dump(&self, mut to: impl Write) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(self.generations.len() * 4);
        for sector in 0..self.sectors().0 {
            bytes.extend(self.certain(Sector(sector)).to_le_bytes());
        }
        to.write_all(&bytes)
    }

    /// Reads a dump back. Sectors that were uncertain are taken for generation 0 until they are
    /// written.
    pub fn load(disk_seed: u64, initial: Initial, mut from: impl Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)?;
        let (words, rest) = bytes.as_chunks();
        if !rest.is_empty() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let generations = words.iter().map(|word| match u32::from_le_bytes(*word) {
            UNCERTAIN => 0,
            certain => certain,
        });
        let generations = generations.collect();
        Ok(Self {
            disk_seed,
            initial,
            generations,
            possible: BTreeMap::new(),
        })
    }

    fn generation(&self, sector: Sector) -> u32 {
        let index = usize::try_from(sector.0).ok();
        index
            .and_then(|index| self.generations.get(index))
            .copied()
            .unwrap_or(0)
    }

    fn slot(&mut self, sector: Sector) -> Option<&mut u32> {
        self.generations.get_mut(usize::try_from(sector.0).ok()?)
    }
}
