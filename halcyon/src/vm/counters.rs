//! What the loop of a VM process counts about itself, beside what each device counts.
//!
//! Invariant: `system_calls` contains every call the process makes at run time: reactor with its
//! slow lane, grants and event channels.

use telemetry::{Block, Counter, Page};

/// The name of the loop's block in the stats page.
pub const BLOCK: &str = "loop";
/// The name of the counter of system calls.
pub const SYSTEM_CALLS: &str = "system_calls";

/// Counters in a shared page.
#[derive(Debug)]
pub struct Counters {
    /// Steps of the loop.
    pub turns: Counter,
    /// Events that arrived.
    pub events: Counter,
    /// See the head of this file.
    pub system_calls: Counter,
    _block: Block,
}

impl Counters {
    /// Takes the first block of a page.
    ///
    /// # Panics
    /// When the page has no room for one block: the process itself made it.
    #[must_use]
    pub fn new(page: &Page) -> Self {
        let mut block = page
            .block(BLOCK)
            .expect("a page has room for its first block");
        let turns = block.counter("turns");
        let events = block.counter("events");
        let system_calls = block.counter(SYSTEM_CALLS);
        Self {
            turns,
            events,
            system_calls,
            _block: block.publish(),
        }
    }
}
