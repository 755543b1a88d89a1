//! A block of counters and histograms, from the writer's side.
//!
//! Invariant: each value has one writer, so that counting needs no locked instruction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::layout::{
    BLOCK_DESCRIPTORS, BLOCK_ITEMS, BLOCK_NAME, BLOCK_NAME_WORDS, BLOCK_STATE,
    DESCRIPTOR_NAME_WORDS, DESCRIPTOR_WORDS, HISTOGRAM_BUCKETS, HISTOGRAM_MAX, HISTOGRAM_SUM,
    HISTOGRAM_WORDS, KIND_COUNTER, KIND_HISTOGRAM, STATE_LIVE, WORDS, bucket,
};
use crate::page::Claim;

/// A block whose items are being declared. Descriptors grow from the front of its page, values
/// from the back; what does not fit any more is counted nowhere.
#[derive(Debug)]
pub struct Builder {
    claim: Arc<Claim>,
    items: usize,
    first_value: usize,
}

/// A block that readers see, until it and the last handle to its values are dropped.
#[derive(Clone, Debug)]
pub struct Block {
    _claim: Arc<Claim>,
}

/// A number that one thread changes and anybody reads.
#[derive(Clone, Debug)]
pub struct Counter {
    claim: Arc<Claim>,
    word: usize,
}

/// Durations, counted by their logarithm. One thread records, anybody reads.
#[derive(Clone, Debug)]
pub struct Histogram {
    claim: Arc<Claim>,
    word: usize,
}

impl Builder {
    pub(crate) fn new(claim: Claim, name: &str) -> Self {
        put_name(&claim, BLOCK_NAME, BLOCK_NAME_WORDS, name);
        Self {
            claim: Arc::new(claim),
            items: 0,
            first_value: WORDS,
        }
    }

    /// Declares a counter; the name is cut after 24 bytes.
    pub fn counter(&mut self, name: &str) -> Counter {
        let word = self.declare(KIND_COUNTER, 1, name);
        Counter {
            claim: Arc::clone(&self.claim),
            word,
        }
    }

    /// Declares a histogram of nanoseconds; the name is cut after 24 bytes.
    pub fn histogram(&mut self, name: &str) -> Histogram {
        let word = self.declare(KIND_HISTOGRAM, HISTOGRAM_WORDS, name);
        Histogram {
            claim: Arc::clone(&self.claim),
            word,
        }
    }

    /// Shows the block to readers.
    pub fn publish(self) -> Block {
        self.claim
            .at(BLOCK_ITEMS)
            .store(self.items as u64, Ordering::Relaxed);
        self.claim
            .at(BLOCK_STATE)
            .store(STATE_LIVE, Ordering::Release);
        Block { _claim: self.claim }
    }

    /// Writes a descriptor and returns the first word of its value.
    fn declare(&mut self, kind: u64, words: usize, name: &str) -> usize {
        let descriptor = BLOCK_DESCRIPTORS + self.items * DESCRIPTOR_WORDS;
        let value = self.first_value.saturating_sub(words);
        if value < descriptor + DESCRIPTOR_WORDS {
            debug_assert!(false, "no room for {name} in its block");
            return usize::MAX;
        }
        self.claim
            .at(descriptor)
            .store(kind | (value as u64) << 32, Ordering::Relaxed);
        put_name(&self.claim, descriptor + 1, DESCRIPTOR_NAME_WORDS, name);
        self.items += 1;
        self.first_value = value;
        value
    }
}

impl Counter {
    /// Counts `n` more, wrapping.
    pub fn add(&self, n: u64) {
        add(self.word(), n);
    }

    /// Replaces the value, for what goes up and down.
    pub fn set(&self, value: u64) {
        self.word().store(value, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.word().load(Ordering::Relaxed)
    }

    fn word(&self) -> &AtomicU64 {
        self.claim.at(self.word)
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&self, ns: u64) {
        add(self.word(HISTOGRAM_BUCKETS + bucket(ns)), 1);
        add(self.word(HISTOGRAM_SUM), ns);
        let max = self.word(HISTOGRAM_MAX);
        if max.load(Ordering::Relaxed) < ns {
            max.store(ns, Ordering::Relaxed);
        }
    }

    /// All durations together, wrapping.
    #[must_use]
    pub fn sum_ns(&self) -> u64 {
        self.word(HISTOGRAM_SUM).load(Ordering::Relaxed)
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        self.claim.at(self.word.saturating_add(index))
    }
}

fn add(word: &AtomicU64, n: u64) {
    // One writer: no other store can fall between these two.
    word.store(
        word.load(Ordering::Relaxed).wrapping_add(n),
        Ordering::Relaxed,
    );
}

fn put_name(claim: &Claim, first: usize, words: usize, name: &str) {
    let mut bytes = name.bytes();
    for index in first..first + words {
        let word = std::array::from_fn(|_| bytes.next().unwrap_or(0));
        claim
            .at(index)
            .store(u64::from_le_bytes(word), Ordering::Relaxed);
    }
}
