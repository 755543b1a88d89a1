//! Requests that were taken from the ring and not yet answered: a fixed table and its tokens.
//!
//! Why a table of fixed layout in one page: responses complete out of order and overwrite request
//! slots, so after a crash the ring alone does not tell what was under way. This table does, and
//! becomes the crash journal by being placed in a file; all that a successor needs to repeat a
//! request is in its entry. Memory lent for a transfer is process-local and lives elsewhere.
//!
//! Invariant: an entry is free, or held by exactly one [`Held`], or in the disk under its index.

use std::mem::size_of;

use abi::Sector;
use abi::io::blkif::{MAX_SEGMENTS, Operation};
use reactor::Nanos;

use crate::request::Request;
use crate::segments::Segment;

/// Entries of the table: slots of a single-page ring, in every protocol.
pub const ENTRIES: usize = 32;

/// Marks the table: "blkinfly".
const MAGIC: u64 = u64::from_le_bytes(*b"blkinfly");
/// Version of the layout below.
const VERSION: u32 = 1;

/// What precedes the entries.
#[derive(Debug)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    magic: u64,
    /// [`VERSION`].
    version: u32,
    /// Bytes of an entry.
    entry_bytes: u32,
    /// How many entries follow.
    entries: u32,
    /// How many are in use.
    used: u32,
    reserved: [u64; 5],
}

/// One request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Entry {
    /// The frontend's name for the request.
    pub id: u64,
    /// First sector on the disk.
    pub sector: u64,
    /// When it was taken from the ring.
    pub taken_ns: Nanos,
    /// Bytes that travel.
    pub len_bytes: u32,
    /// A value of [`State`].
    state: u8,
    /// `BLKIF_OP_*`.
    operation: u8,
    /// How many of the segments count.
    segment_count: u8,
    reserved: u8,
    segments: [Segment; MAX_SEGMENTS],
}

#[derive(Debug)]
#[repr(C)]
struct Table {
    header: Header,
    entries: [Entry; ENTRIES],
}

const _: () = assert!(size_of::<Header>() == 64);
const _: () = assert!(size_of::<Entry>() == 120);
const _: () = assert!(
    size_of::<Table>() <= abi::PAGE_SIZE,
    "the journal is one page"
);

/// Where a request is. Numbers, because they are part of the layout; 0 is a free entry.
struct State;

impl State {
    const HELD: u8 = 1;
    const IN_DISK: u8 = 2;
}

/// The duty to answer one request. Not copyable: it ends in [`Inflight::launch`], which passes
/// the duty to the disk, or in [`Inflight::release`], which ends it.
#[derive(Debug)]
#[must_use = "a request that is dropped is never answered"]
pub struct Held(u8);

impl Held {
    fn index(&self) -> usize {
        usize::from(self.0)
    }
}

impl Entry {
    /// What the guest asked for.
    pub fn operation(&self) -> Operation {
        Operation(self.operation)
    }

    /// The pages of the guest.
    pub fn segments(&self) -> &[Segment] {
        self.segments
            .get(..usize::from(self.segment_count))
            .unwrap_or(&self.segments)
    }

    fn of(id: u64, request: &Request, now: Nanos) -> Self {
        let mut entry = Self {
            id,
            taken_ns: now,
            state: State::HELD,
            operation: request.operation().0,
            ..Self::default()
        };
        if let Request::Read(transfer) | Request::Write(transfer) = request {
            entry.carry(transfer.sector, transfer.segments.as_slice());
        }
        entry
    }

    fn carry(&mut self, sector: Sector, segments: &[Segment]) {
        self.sector = sector.0;
        for (kept, segment) in self.segments.iter_mut().zip(segments) {
            *kept = *segment;
            self.segment_count += 1;
            self.len_bytes += u32::from(segment.len_bytes);
        }
    }
}

/// The table with its list of free entries.
#[derive(Debug)]
pub struct Inflight {
    table: Box<Table>,
    /// Free entries; the last is taken first, so that a quiet disk touches few lines.
    free: [u8; ENTRIES],
    free_count: usize,
    in_disk: usize,
}

impl Default for Inflight {
    fn default() -> Self {
        let header = Header {
            magic: MAGIC,
            version: VERSION,
            entry_bytes: 120,
            entries: 32,
            used: 0,
            reserved: [0; 5],
        };
        let table = Box::new(Table {
            header,
            entries: [Entry::default(); ENTRIES],
        });
        let mut free = [0; ENTRIES];
        for (index, slot) in (0..).zip(free.iter_mut().rev()) {
            *slot = index;
        }
        Self {
            table,
            free,
            free_count: ENTRIES,
            in_disk: 0,
        }
    }
}

impl Inflight {
    /// Enters a request; `None` if the table is full, which a ring of [`ENTRIES`] slots whose
    /// overflow was checked cannot bring about.
    pub fn hold(&mut self, id: u64, request: &Request, now: Nanos) -> Option<Held> {
        let last = self.free_count.checked_sub(1)?;
        let held = Held(self.free[last]);
        self.free_count = last;
        self.table.header.used += 1;
        self.table.entries[held.index()] = Entry::of(id, request, now);
        Some(held)
    }

    /// The entry of a held request.
    pub fn entry(&self, held: &Held) -> &Entry {
        &self.table.entries[held.index()]
    }

    /// Passes the duty to the disk; returns the name that the disk knows it by.
    #[expect(clippy::needless_pass_by_value, reason = "the token ends here")]
    pub fn launch(&mut self, held: Held) -> u32 {
        self.table.entries[held.index()].state = State::IN_DISK;
        self.in_disk += 1;
        u32::from(held.0)
    }

    /// Takes the duty back from the disk; `None` for a name that is not in the disk.
    pub fn land(&mut self, name: u32) -> Option<Held> {
        let index = u8::try_from(name).ok()?;
        let entry = self.table.entries.get_mut(usize::from(index))?;
        if entry.state != State::IN_DISK {
            return None;
        }
        entry.state = State::HELD;
        self.in_disk -= 1;
        Some(Held(index))
    }

    /// Ends the duty; returns what the answer needs.
    #[expect(clippy::needless_pass_by_value, reason = "the token ends here")]
    pub fn release(&mut self, held: Held) -> Entry {
        let entry = std::mem::take(&mut self.table.entries[held.index()]);
        self.free[self.free_count] = held.0;
        self.free_count += 1;
        self.table.header.used -= 1;
        entry
    }

    /// Requests taken and not answered.
    pub fn used(&self) -> usize {
        ENTRIES - self.free_count
    }

    /// Requests that the disk has.
    pub fn in_disk(&self) -> usize {
        self.in_disk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_table_is_empty() {
        assert_eq!(Inflight::default().used(), 0);
    }

    #[test]
    fn the_table_holds_a_whole_ring_and_no_more() {
        let mut table = Inflight::default();
        let held: Vec<_> = (0..40)
            .filter_map(|id| table.hold(id, &Request::Flush, 0))
            .collect();
        assert_eq!(held.len(), ENTRIES);
    }

    #[test]
    fn what_was_entered_comes_back_at_the_end() {
        let mut table = Inflight::default();
        let held = table.hold(42, &Request::Flush, 1000).expect("room");
        let name = table.launch(held);
        let landed = table.land(name).expect("in the disk");
        let entry = table.release(landed);
        assert_eq!(
            (entry.id, entry.operation(), entry.taken_ns),
            (42, Operation::FLUSH_DISKCACHE, 1000)
        );
    }

    #[test]
    fn a_second_completion_of_one_request_is_not_believed() {
        let mut table = Inflight::default();
        let held = table.hold(1, &Request::Flush, 0).expect("room");
        let name = table.launch(held);
        let landed = table.land(name).expect("in the disk");
        assert!(table.land(name).is_none());
        table.release(landed);
    }

    #[test]
    fn a_completion_that_names_no_entry_is_not_believed() {
        assert!(Inflight::default().land(1 << 30).is_none());
    }

    #[test]
    fn a_released_entry_can_be_used_again() {
        let mut table = Inflight::default();
        let mut rounds = 0;
        for id in 0..100 {
            let held = table.hold(id, &Request::Flush, 0).expect("room");
            rounds += usize::from(table.release(held).id == id);
        }
        assert_eq!((rounds, table.used()), (100, 0));
    }

    #[test]
    fn requests_in_the_disk_are_counted() {
        let mut table = Inflight::default();
        let held = table.hold(1, &Request::Flush, 0).expect("room");
        let name = table.launch(held);
        assert_eq!((table.used(), table.in_disk()), (1, 1));
        let landed = table.land(name).expect("in the disk");
        assert_eq!((table.used(), table.in_disk()), (1, 0));
        table.release(landed);
    }
}
