//! A small file of 64-bit words whose layout others have fixed: a tool that knows nothing of
//! Halcyon maps or reads it.
//!
//! Knows no layout. Invariant: a word is stored whole, so that a reader never sees half a number;
//! the mapping is one page.

use std::fs::File;
use std::io;
use std::sync::atomic::Ordering;

use memmap2::MmapOptions;

use crate::layout::PAGE;
use crate::page::Words;

/// Words of a record, at the most.
pub const RECORD_WORDS_MAX: usize = PAGE / 8;

/// See the head of this file.
#[derive(Debug)]
pub struct Record {
    words: Words,
    count: usize,
}

impl Record {
    /// Sizes `file` for `count` words, all 0, and maps it.
    pub fn create(file: &File, count: usize) -> io::Result<Self> {
        if !(1..=RECORD_WORDS_MAX).contains(&count) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let len_bytes = count * 8;
        file.set_len(0)?;
        file.set_len(len_bytes as u64)?;
        let words = Words::new(MmapOptions::new().len(len_bytes).map_raw(file)?);
        Ok(Self { words, count })
    }

    /// Stores a word: a plain store. One beyond the record is dropped.
    pub fn set(&self, index: usize, value: u64) {
        if index < self.count {
            self.words.at(index).store(value, Ordering::Relaxed);
        }
    }
}
