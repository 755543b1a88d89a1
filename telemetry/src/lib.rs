//! Counters and latency histograms in pages that readers look at without asking the writer, a
//! limiter for what guests can make us log, and the text forms of it all.
//!
//! A VM process owns one [`Page`] file: a header, then one 4 KiB page per [`Block`] (a device, the
//! loop). It knows nothing of what is counted: names travel in the page beside the values.
//!
//! Invariant: counting is one relaxed load and one relaxed store by a single writer, in memory that
//! is mapped once; whatever a file holds, reading it never panics.

#![deny(unsafe_code)]

mod block;
mod distribution;
pub mod export;
mod layout;
mod limit;
mod page;
mod record;
mod snapshot;

pub use block::{Block, Builder, Counter, Histogram};
pub use distribution::Distribution;
pub use limit::{RateLimit, Verdict};
pub use page::Page;
pub use record::{RECORD_WORDS_MAX, Record};
pub use snapshot::{BlockSnapshot, Item, Malformed, Snapshot, Value};
