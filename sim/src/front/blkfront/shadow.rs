//! What a frontend asked for and was not answered yet: one entry per slot of the ring.
//!
//! Invariant: an id names one request for ever, so that a second response to it is told from an
//! answer to the next one.

use abi::{Gfn, GrantRef};

use super::Io;

/// A request under way.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) io: Io,
    /// The pages lent for it, in the order of its segments.
    pub(super) pages: Vec<(GrantRef, Gfn)>,
}

/// The requests under way.
#[derive(Debug)]
pub(super) struct Shadow {
    entries: Vec<Option<(u64, Entry)>>,
    free: Vec<usize>,
    /// How many ids have been given out.
    issued: u64,
}

/// What an id stands for.
#[derive(Debug)]
pub(super) enum Named {
    UnderWay(Entry),
    Answered,
    Unknown,
}

/// The low bits of an id are the entry's place, as in Linux; the rest count.
const PLACE_BITS: u32 = 16;

impl Shadow {
    pub(super) fn new(entries: u32) -> Self {
        let entries = entries as usize;
        Self {
            entries: (0..entries).map(|_| None).collect(),
            free: (0..entries).rev().collect(),
            issued: 0,
        }
    }

    /// How many requests are under way.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether another request has a place.
    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Remembers a request and names it.
    pub(super) fn insert(&mut self, entry: Entry) -> u64 {
        let place = self.free.pop().expect("asked for room before");
        self.issued += 1;
        let id = self.issued << PLACE_BITS | place as u64;
        self.entries[place] = Some((id, entry));
        id
    }

    /// Takes out what a response names.
    pub(super) fn remove(&mut self, id: u64) -> Named {
        let place = usize::try_from(id & ((1 << PLACE_BITS) - 1)).unwrap_or(usize::MAX);
        let Some(slot) = self.entries.get_mut(place) else {
            return Named::Unknown;
        };
        if let Some((_, entry)) = slot.take_if(|(known, _)| *known == id) {
            self.free.push(place);
            return Named::UnderWay(entry);
        }
        if (1..=self.issued).contains(&(id >> PLACE_BITS)) {
            Named::Answered
        } else {
            Named::Unknown
        }
    }

    /// Takes out any request.
    pub(super) fn take_any(&mut self) -> Option<Entry> {
        let place = self.entries.iter().position(Option::is_some)?;
        self.free.push(place);
        self.entries[place].take().map(|(_, entry)| entry)
    }
}
