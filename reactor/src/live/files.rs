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

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Files {
    files: Vec<Option<File>>,
    generations: Vec<u16>,
}

impl Files {
    /// Room for `count` files, at most 65,536.
    pub(super) fn new(count: usize) -> Self {
        let files = std::iter::repeat_with(|| None).take(count).collect();
        Self {
            files,
            generations: vec![0; count],
        }
    }

    /// The index that the next file gets.
    pub(super) fn vacant(&self) -> Option<u32> {
        u32::try_from(self.files.iter().position(Option::is_none)?).ok()
    }

    /// Puts `file` at a vacant index.
    pub(super) fn insert(&mut self, index: u32, file: File) -> Slot {
        self.files[index as usize] = Some(file);
        Slot(u32::from(self.generations[index as usize]) << 16 | index)
    }

    /// The index of a file that is open.
    pub(super) fn index(&self, slot: Slot) -> Option<u32> {
        let (index, generation) = (slot.0 & 0xffff, slot.0 >> 16);
        let known = u32::from(*self.generations.get(index as usize)?) == generation;
        let open = self.get(index).is_some_and(|file| !file.closing);
        (known && open).then_some(index)
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
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn get(&self, index: u32) -> Option<&File> {
        self.files.get(index as usize)?.as_ref()
    }

    fn get_mut(&mut self, index: u32) -> Option<&mut File> {
        self.files.get_mut(index as usize)?.as_mut()
    }

    /// Takes the file out; the slot that named it is stale from now on.
    pub(super) fn remove(&mut self, index: u32) -> Option<File> {
        let file = self.files.get_mut(index as usize)?.take()?;
        let generation = self.generations.get_mut(index as usize)?;
        *generation = generation.wrapping_add(1);
        Some(file)
    }

    /// The slots of all files that are open.
    pub(super) fn open(&self) -> Vec<Slot> {
        let slots = self
            .generations
            .iter()
            .zip(0..)
            .map(|(generation, index)| Slot(u32::from(*generation) << 16 | index));
        slots.filter(|slot| self.index(*slot).is_some()).collect()
    }
}
