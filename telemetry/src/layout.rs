//! The layout of a stats file. Little-endian throughout, every value an aligned 64-bit word.
//!
//! Header page: magic, version, number of block pages. Block page: state, number of items, name;
//! then one 32-byte descriptor per item (kind, index of its first word in the page, name); then
//! the words. A reader needs nothing but this to print every value.

/// Bytes of the header page and of each block page.
pub(crate) const PAGE: usize = abi::PAGE_SIZE;
/// 64-bit words of a page.
pub(crate) const WORDS: usize = PAGE / 8;

/// `HALCSTAT` in the file.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"HALCSTAT");
/// Of this layout; a reader refuses others.
pub(crate) const VERSION: u64 = 1;

/// Words of the header page.
pub(crate) const HEADER_MAGIC: usize = 0;
pub(crate) const HEADER_VERSION: usize = 1;
pub(crate) const HEADER_BLOCKS: usize = 2;

/// Words of a block page. The state is written last: what it announces is complete.
pub(crate) const BLOCK_STATE: usize = 0;
pub(crate) const BLOCK_ITEMS: usize = 1;
pub(crate) const BLOCK_NAME: usize = 2;
pub(crate) const BLOCK_NAME_WORDS: usize = 6;
pub(crate) const BLOCK_DESCRIPTORS: usize = 8;
/// A block page in use.
pub(crate) const STATE_LIVE: u64 = 1;
/// A block page whose descriptors are being written.
pub(crate) const STATE_CLAIMED: u64 = 2;

/// A descriptor: one word of kind (low half) and first word (high half), then the name.
pub(crate) const DESCRIPTOR_WORDS: usize = 4;
pub(crate) const DESCRIPTOR_NAME_WORDS: usize = 3;
pub(crate) const KIND_COUNTER: u64 = 1;
pub(crate) const KIND_HISTOGRAM: u64 = 2;

/// A histogram: sum and maximum in nanoseconds, then the buckets.
pub(crate) const HISTOGRAM_SUM: usize = 0;
pub(crate) const HISTOGRAM_MAX: usize = 1;
pub(crate) const HISTOGRAM_BUCKETS: usize = 2;
pub(crate) const HISTOGRAM_WORDS: usize = HISTOGRAM_BUCKETS + BUCKETS;

/// log2 of the parts of an octave: four, so that a quantile is off by an eighth at the most.
const PARTS_LOG2: u32 = 2;
const PARTS: usize = 1 << PARTS_LOG2;
/// log2 of the shortest time told apart from 0: 128 ns, below which nothing here takes a disk
/// along.
const FIRST_LOG2: u32 = 7;
/// Octaves told apart: up to 2^37 ns, over two minutes.
const OCTAVES: usize = 30;
/// Buckets of a histogram: one below the first octave, and the last takes all that is longer.
pub(crate) const BUCKETS: usize = 1 + OCTAVES * PARTS;

/// The bucket that a duration falls into.
pub(crate) fn bucket(ns: u64) -> usize {
    let Some(log2) = ns.checked_ilog2().filter(|log2| *log2 >= FIRST_LOG2) else {
        return 0;
    };
    // The two bits below the highest one.
    let part = usize::from((ns >> (log2 - PARTS_LOG2)).to_le_bytes()[0]) % PARTS;
    (1 + (log2 - FIRST_LOG2) as usize * PARTS + part).min(BUCKETS - 1)
}

/// The shortest duration that falls into a bucket.
pub(crate) fn bucket_start_ns(bucket: usize) -> u64 {
    let Some(above) = bucket.checked_sub(1) else {
        return 0;
    };
    let octave = 1_u64 << (FIRST_LOG2 as usize + (above / PARTS).min(OCTAVES));
    octave + (octave >> PARTS_LOG2) * (above % PARTS) as u64
}
