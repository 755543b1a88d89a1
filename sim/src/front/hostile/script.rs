//! What a hostile frontend does, as a value.

use abi::io::blkif::{RawRequest, SLOT_MAX};

/// Where the pages of a malformed request come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// A page lent for it, in all segments.
    Lend {
        /// Whether the backend may not write to it.
        readonly: bool,
    },
    /// The page lent last, once more.
    Last,
    /// The ring itself.
    Ring,
    /// The grant references that the request has.
    AsWritten,
}

/// One thing that a guest can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Puts a request on the ring and tells the backend.
    Request {
        /// What.
        request: RawRequest,
        /// On which page.
        page: Page,
    },
    /// Puts these bytes into a slot and tells the backend.
    RawSlot([u8; SLOT_MAX]),
    /// Moves the producer index without writing any slot, and tells the backend.
    Produce(u32),
    /// Notifies so many times, with nothing to tell.
    Notify(u32),
    /// Overwrites the four index words of the ring.
    Scribble([u32; 4]),
    /// Writes this to its state node.
    State(u32),
    /// Ends every grant of a data page that can be ended.
    Revoke,
    /// Closes without waiting for what is under way.
    Abandon,
}

impl Act {
    /// Whether it makes no sense before there is a ring.
    pub(super) fn needs_ring(&self) -> bool {
        !matches!(self, Self::State(_))
    }
}

/// A value for a node instead of the right one; `None` leaves it out.
pub type Lie = (&'static str, Option<Vec<u8>>);

/// What a hostile frontend does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// What a report calls it.
    pub name: &'static str,
    /// Before: what it publishes.
    pub lies: Vec<Lie>,
    /// After: what it does.
    pub acts: Vec<Act>,
}
