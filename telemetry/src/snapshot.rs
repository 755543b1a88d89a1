//! A stats file from the reader's side.
//!
//! The file is read, not mapped: its writer may be a process that a guest took over, and could cut
//! a mapping short under the reader. Invariant: no content of it can panic.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use std::io;
use std::path::Path;

use crate::Distribution;
use crate::layout::{
    BLOCK_DESCRIPTORS, BLOCK_ITEMS, BLOCK_NAME, BLOCK_NAME_WORDS, BLOCK_STATE, DESCRIPTOR_WORDS,
    HEADER_MAGIC, HEADER_VERSION, HISTOGRAM_BUCKETS, HISTOGRAM_MAX, HISTOGRAM_SUM, HISTOGRAM_WORDS,
    KIND_COUNTER, KIND_HISTOGRAM, MAGIC, PAGE, STATE_LIVE, VERSION,
};

/// Most bytes of a stats file that a reader takes: over a thousand blocks.
const FILE_MAX_BYTES: u64 = 4 << 20;

/// All blocks of a stats file at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// In the order of their pages.
    pub blocks: Vec<BlockSnapshot>,
}

/// One block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockSnapshot {
    /// What it is about.
    pub name: String,
    /// Its values, in the order of their declaration.
    pub items: Vec<Item>,
}

/// One value with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it counts.
    pub name: String,
    /// How much.
    pub value: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Counter(u64),
    /// Durations.
    Histogram(Distribution),
}

/// The bytes are no stats file of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a stats file of this version")
    }
}

impl std::error::Error for Malformed {}

impl Snapshot {
    /// Reads a stats file; [`Malformed`] comes as [`io::ErrorKind::InvalidData`].
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path)?;
        io::Read::read_to_end(&mut io::Read::take(file, FILE_MAX_BYTES), &mut bytes)?;
        Self::parse(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Reads the bytes of a stats file.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (words, _) = bytes.as_chunks();
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let at = |index| words.get(index).copied();
        if at(HEADER_MAGIC) != Some(MAGIC) || at(HEADER_VERSION) != Some(VERSION) {
            return Err(Malformed);
        }
        let pages = words.chunks_exact(PAGE / 8).skip(1);
        Ok(Self {
            blocks: pages.filter_map(block).collect(),
        })
    }

    /// The block of that name.
    pub fn block(&self, name: &str) -> Option<&BlockSnapshot> {
        self.blocks.iter().find(|block| block.name == name)
    }
}

impl BlockSnapshot {
    /// The counter of that name.
    pub fn counter(&self, name: &str) -> Option<u64> {
        self.items
            .iter()
            .find(|item| item.name == name)
            .and_then(|item| match item.value {
                Value::Counter(value) => Some(value),
                Value::Histogram(_) => None,
            })
    }

    /// The histogram of that name.
    pub fn histogram(&self, name: &str) -> Option<&Distribution> {
        self.items
            .iter()
            .find(|item| item.name == name)
            .and_then(|item| match &item.value {
                Value::Counter(_) => None,
                Value::Histogram(distribution) => Some(distribution),
            })
    }
}

/// Reads one block page; `None` for a free one.
fn block(page: &[u64]) -> Option<BlockSnapshot> {
    if *page.get(BLOCK_STATE)? != STATE_LIVE {
        return None;
    }
    let name = name(page.get(BLOCK_NAME..)?.get(..BLOCK_NAME_WORDS)?);
    let count = usize::try_from(*page.get(BLOCK_ITEMS)?).ok()?;
    let descriptors = page
        .get(BLOCK_DESCRIPTORS..)?
        .chunks_exact(DESCRIPTOR_WORDS)
        .take(count);
    let items = descriptors
        .filter_map(|descriptor| item(page, descriptor))
        .collect();
    Some(BlockSnapshot { name, items })
}

/// Reads the value that a descriptor names; `None` where it does not lie within the page.
fn item(page: &[u64], descriptor: &[u64]) -> Option<Item> {
    let (word, name_words) = descriptor.split_first()?;
    let words = page.get(usize::try_from(*word >> 32).ok()?..)?;
    let value = match *word & u64::from(u32::MAX) {
        KIND_COUNTER => Value::Counter(*words.first()?),
        KIND_HISTOGRAM => Value::Histogram(Distribution {
            sum_ns: *words.get(HISTOGRAM_SUM)?,
            max_ns: *words.get(HISTOGRAM_MAX)?,
            buckets: words.get(HISTOGRAM_BUCKETS..HISTOGRAM_WORDS)?.to_vec(),
        }),
        _ => return None,
    };
    Some(Item {
        name: name(name_words),
        value,
    })
}

/// Text up to the first zero byte.
fn name(words: &[u64]) -> String {
    let bytes = words.iter().flat_map(|word| word.to_le_bytes());
    let text: Vec<u8> = bytes.take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&text).into_owned()
}
