//! The files a reactor keeps: the descriptors themselves, for helper threads and inline calls, at
//! the same index at which the ring's table has them.
//!
//! Knows nothing of operations but how many are under way on a file.
//!
//! Invariant: a [`Slot`] names one file for ever; an index is used again, a slot is not (until its
//! 16-bit generation wraps).

use std::os::fd::OwnedFd;

use crate::{Slot, Verb};

/// How a file is read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A disk image, through the ring with RWF_NOWAIT.
    Image,
    /// A disk image in the page cache, by inline calls with RWF_NOWAIT.
    Cached,
    /// A disk image that is nothing but memory, by plain inline calls.
    Memory,
    /// A nonblocking stream, through the ring.
    Stream,
}

impl Kind {
    /// Whether `verb` means something on such a file.
    fn takes(self, verb: Verb) -> bool {
        (self == Kind::Stream) == matches!(verb, Verb::Receive | Verb::Send | Verb::Ready)
    }
}

/// A file of the table.
#[derive(Debug)]
pub(super) struct File {
    pub(super) fd: OwnedFd,
    pub(super) kind: Kind,
    pub(super) in_flight: u32,
    /// Takes no more operations, and goes when the last has come back.
    pub(super) closing: bool,
}

/// An index of the table, once it was used.
#[derive(Debug, Default)]
struct Place {
    file: Option<File>,
    generation: u16,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Files {
    /// As many as were ever open at once: most processes open a few of the files they may.
    places: Vec<Place>,
    room: usize,
}

impl Files {
    /// Room for `count` files, at most 65,536.
    pub(super) fn new(count: usize) -> Self {
        Self {
            places: Vec::new(),
            room: count,
        }
    }

    /// The index that the next file gets.
    pub(super) fn vacant(&self) -> Option<u32> {
        let mut places = self.places.iter();
        let index = places
            .position(|place| place.file.is_none())
            .unwrap_or(self.places.len());
        u32::try_from(index).ok().filter(|_| index < self.room)
    }

    /// Puts `file` at the index that [`Files::vacant`] gave.
    pub(super) fn insert(&mut self, index: u32, file: File) -> Slot {
        if index as usize == self.places.len() {
            self.places.push(Place::default());
        }
        let place = &mut self.places[index as usize];
        place.file = Some(file);
        place.slot(index)
    }

    /// The index of a file that is open.
    pub(super) fn index(&self, slot: Slot) -> Option<u32> {
        let index = slot.0 & 0xffff;
        let place = self.places.get(index as usize)?;
        let is_open = place.file.as_ref().is_some_and(|file| !file.closing);
        (is_open && place.slot(index) == slot).then_some(index)
    }

    /// Counts an operation on the file that `slot` names: `EBADF` when it is not open, `EINVAL`
    /// when it is not that sort of file.
    pub(super) fn admit(&mut self, slot: Slot, verb: Verb) -> Result<(u32, Kind), i32> {
        let index = self.index(slot).ok_or(libc::EBADF)?;
        let file = self.get_mut(index).ok_or(libc::EBADF)?;
        if !file.kind.takes(verb) {
            return Err(libc::EINVAL);
        }
        file.in_flight += 1;
        Ok((index, file.kind))
    }

    /// Counts the end of an operation; true when the file waited for that to be let go of.
    pub(super) fn ended(&mut self, index: u32) -> bool {
        self.get_mut(index).is_some_and(|file| {
            file.in_flight -= 1;
            file.in_flight == 0 && file.closing
        })
    }

    /// Takes no more operations on the file; true when none is under way, so that it can be let go
    /// of at once.
    pub(super) fn begin_close(&mut self, index: u32) -> bool {
        self.get_mut(index).is_some_and(|file| {
            file.closing = true;
            file.in_flight == 0
        })
    }

    /// How many files there is room for.
    pub(super) fn room(&self) -> usize {
        self.room
    }

    pub(super) fn get(&self, index: u32) -> Option<&File> {
        self.places.get(index as usize)?.file.as_ref()
    }

    fn get_mut(&mut self, index: u32) -> Option<&mut File> {
        self.places.get_mut(index as usize)?.file.as_mut()
    }

    /// Takes the file out; the slot that named it is stale from now on.
    pub(super) fn remove(&mut self, index: u32) -> Option<File> {
        let place = self.places.get_mut(index as usize)?;
        let file = place.file.take()?;
        place.generation = place.generation.wrapping_add(1);
        Some(file)
    }

    /// The slots of all files that are open.
    pub(super) fn open(&self) -> Vec<Slot> {
        let slots = self.places.iter().zip(0..);
        slots
            .map(|(place, index)| place.slot(index))
            .filter(|slot| self.index(*slot).is_some())
            .collect()
    }
}

impl Place {
    /// The name of the file that is here at `index`, or that comes here next.
    fn slot(&self, index: u32) -> Slot {
        Slot(u32::from(self.generation) << 16 | index)
    }
}
