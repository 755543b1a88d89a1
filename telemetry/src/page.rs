//! The mapped memory of a stats file.
//!
//! UNSAFETY: this file turns the address of a mapping into references to atomics. All other code
//! of the crate reaches the memory through [`Words::at`].
//!
//! Invariant: the mapping lives as long as anything that counts into it, and is only ever accessed
//! through aligned atomics.

#![expect(unsafe_code, reason = "references to atomics within a shared mapping")]

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use crate::block::Builder;
use crate::layout::{self, BLOCK_STATE, PAGE, WORDS};

/// A stats file, mapped for counting. Clones share the mapping.
#[derive(Clone, Debug)]
pub struct Page {
    words: Arc<Words>,
    blocks: usize,
}

/// The words of a mapping.
#[derive(Debug)]
pub(crate) struct Words {
    mapping: MmapRaw,
}

impl Words {
    /// Those of a mapping of at least one.
    pub(crate) fn new(mapping: MmapRaw) -> Self {
        Self { mapping }
    }

    /// The word of an index; one beyond the mapping is the last word, which nobody uses.
    pub(crate) fn at(&self, index: usize) -> &AtomicU64 {
        let index = index.min(self.mapping.len() / 8 - 1);
        // SAFETY: the index was bounded above, so the word lies within the mapping.
        let word = unsafe { self.mapping.as_mut_ptr().cast::<u64>().add(index) };
        // SAFETY: the word is mapped readable and writable, page alignment of the mapping aligns it, it
        // lives as long as `self`, and all accesses of this process are atomic.
        unsafe { AtomicU64::from_ptr(word) }
    }
}

/// A block page in use. Dropping it empties the page.
#[derive(Debug)]
pub(crate) struct Claim {
    words: Arc<Words>,
    base: usize,
}

impl Claim {
    fn new(words: Arc<Words>, base: usize) -> Self {
        words
            .at(base + BLOCK_STATE)
            .store(layout::STATE_CLAIMED, Ordering::Relaxed);
        Self { words, base }
    }

    /// A word of the block page.
    pub(crate) fn at(&self, index: usize) -> &AtomicU64 {
        self.words.at(self.base + index.min(WORDS - 1))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The state comes first, and readers do not look further once it is 0.
        for index in 0..WORDS {
            self.at(index).store(0, Ordering::Release);
        }
    }
}

impl Page {
    /// Sizes `file` for that many blocks, maps it and writes the header. Blocks that are never used
    /// stay holes in the file.
    pub fn create(file: &File, blocks: usize) -> io::Result<Self> {
        let len = Self::len_bytes(blocks)?;
        file.set_len(0)?;
        file.set_len(len as u64)?;
        Ok(Self::begin(
            MmapOptions::new().len(len).map_raw(file)?,
            blocks,
        ))
    }

    /// The same in memory that nobody else sees, for tests and tools.
    pub fn anonymous(blocks: usize) -> io::Result<Self> {
        let mapping = MmapOptions::new()
            .len(Self::len_bytes(blocks)?)
            .map_anon()?;
        Ok(Self::begin(MmapRaw::from(mapping), blocks))
    }

    /// Starts a block in a free page; `None` when all are taken.
    pub fn block(&self, name: &str) -> Option<Builder> {
        let mut bases = (1..=self.blocks).map(|page| page * WORDS);
        let free = |base: &usize| self.words.at(base + BLOCK_STATE).load(Ordering::Relaxed) == 0;
        bases
            .find(free)
            .map(|base| Builder::new(Claim::new(Arc::clone(&self.words), base), name))
    }

    /// What a reader of the file would see now.
    pub fn bytes(&self) -> Vec<u8> {
        let words = (0..(1 + self.blocks) * WORDS).map(|index| self.words.at(index));
        words
            .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes())
            .collect()
    }

    fn begin(mapping: MmapRaw, blocks: usize) -> Self {
        let words = Arc::new(Words::new(mapping));
        words
            .at(layout::HEADER_VERSION)
            .store(layout::VERSION, Ordering::Relaxed);
        words
            .at(layout::HEADER_BLOCKS)
            .store(blocks as u64, Ordering::Relaxed);
        words
            .at(layout::HEADER_MAGIC)
            .store(layout::MAGIC, Ordering::Release);
        Self { words, blocks }
    }

    fn len_bytes(blocks: usize) -> io::Result<usize> {
        let len = blocks
            .checked_add(1)
            .and_then(|pages| pages.checked_mul(PAGE));
        len.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
    }
}
