//! Grant tables: version 1 entries in shared memory, as `grant_table.h` lays them out.
//!
//! [`Entries`] is the table itself, which guest, backends and hypervisor all see. [`Table`] is the
//! guest's side, with its free list; [`Pins`] is the hypervisor's side of mapping, which knows how
//! often each entry is in use. Whoever has the entries may check one for a copy.
//!
//! Invariant: an entry's first word (flags and domid) changes only by compare-and-swap or bit
//! operations once it permits access, so guest and hypervisor never overwrite each other.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use std::sync::atomic::{AtomicU32, Ordering};

use abi::grant_table::{DEFAULT_MAX_FRAMES, ENTRIES_PER_PAGE, ENTRY_FRAME, ENTRY_SIZE, gntst, gtf};
use abi::{DomId, Gfn, GrantRef, PAGE_SIZE};
use vm_memory::VolatileMemory;
use xen::{Access, GrantStatus};

use crate::memory::{Region, Window};

mod pins;
mod table;
#[cfg(test)]
mod tests;

pub use pins::Pins;
pub use table::{StillInUse, Table};

/// Entries of a table of the default size.
pub const CAPACITY: u32 = 32_768;
const _: () = assert!(CAPACITY as usize == DEFAULT_MAX_FRAMES * ENTRIES_PER_PAGE);

/// Bytes that the entries occupy.
pub const LEN_BYTES: usize = DEFAULT_MAX_FRAMES * PAGE_SIZE;

/// The `domid` half of an entry's first word starts at this bit (little endian, as on every
/// machine Xen runs on).
const DOMID_SHIFT: u32 = 16;
const _: () = assert!(cfg!(target_endian = "little"));

/// Either of the bits that only the hypervisor sets.
const IN_USE: u32 = (gtf::READING | gtf::WRITING) as u32;

/// A grant table in shared memory. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Entries {
    window: Window,
    /// Where the table starts in the window.
    offset: usize,
    /// Granted frames lie below this one.
    frames: u64,
}

/// What one entry permits: the first word as it was checked, and the frame.
#[derive(Clone, Copy, Debug)]
struct Permit {
    word: u32,
    gfn: Gfn,
}

impl Entries {
    /// The table at byte `offset` of `window`, of a guest with `frames` frames of memory.
    pub fn new(window: Window, offset: usize, frames: u64) -> Self {
        Self {
            window,
            offset,
            frames,
        }
    }

    /// An empty table of its own, of a guest with `frames` frames of memory.
    pub fn create(frames: u64) -> std::io::Result<Self> {
        Ok(Self::new(
            Region::create(LEN_BYTES as u64)?.map()?,
            0,
            frames,
        ))
    }

    /// What the hypervisor answers when `mapper` wants to use `gref` now: the frame, or why not.
    /// Nothing is pinned: the owner may end the grant as soon as this returns.
    pub fn check(&self, mapper: DomId, gref: GrantRef, access: Access) -> Result<Gfn, GrantStatus> {
        self.permit(mapper, gref, access).map(|permit| permit.gfn)
    }

    /// How many entries are not free: what an audit from outside counts as leaked.
    pub fn in_use(&self) -> usize {
        (0..CAPACITY)
            .filter(|&gref| self.load(GrantRef(gref)) != Some(0))
            .count()
    }

    /// Reads an entry the way `_set_status_v1` of Xen judges it.
    fn permit(&self, mapper: DomId, gref: GrantRef, access: Access) -> Result<Permit, GrantStatus> {
        let word = self.load(gref).ok_or(GrantStatus(gntst::BAD_GNTREF))?;
        if !permits(word, mapper, access) {
            return Err(GrantStatus(gntst::GENERAL_ERROR));
        }
        let frame = self.frame_word(gref, |frame| frame.load(Ordering::Acquire));
        let gfn = Gfn(u64::from(frame.ok_or(GrantStatus(gntst::BAD_GNTREF))?));
        if gfn.0 >= self.frames {
            return Err(GrantStatus(gntst::BAD_PAGE));
        }
        Ok(Permit { word, gfn })
    }

    /// Sets the in-use bits that `access` needs, if the entry permits it; the frame is read again
    /// afterwards, since only a pinned entry stands still.
    fn pin(&self, mapper: DomId, gref: GrantRef, access: Access) -> Result<Gfn, GrantStatus> {
        /// A guest that keeps changing its entry is told off after this many attempts, as in Xen.
        const ATTEMPTS: u32 = 5;
        for _ in 0..ATTEMPTS {
            let permit = self.permit(mapper, gref, access)?;
            if self.compare_exchange(gref, permit.word, permit.word | pin_bits(access)) {
                let again = self.frame_word(gref, |frame| frame.load(Ordering::Acquire));
                if again.map(u64::from) == Some(permit.gfn.0) {
                    return Ok(permit.gfn);
                }
                self.clear(gref, pin_bits(access) & !permit.word);
            }
        }
        Err(GrantStatus(gntst::GENERAL_ERROR))
    }

    /// Clears in-use bits.
    fn clear(&self, gref: GrantRef, bits: u32) {
        self.word(gref, |word| word.fetch_and(!bits, Ordering::AcqRel));
    }

    /// The first word, or `None` beyond the table.
    fn load(&self, gref: GrantRef) -> Option<u32> {
        self.word(gref, |word| word.load(Ordering::Acquire))
    }

    fn compare_exchange(&self, gref: GrantRef, old: u32, new: u32) -> bool {
        let swap = |word: &AtomicU32| {
            word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        };
        self.word(gref, swap) == Some(true)
    }

    /// Makes an entry permit access: the frame first, then the word that publishes it.
    fn publish(&self, gref: GrantRef, domid: DomId, frame: u32, flags: u16) {
        self.frame_word(gref, |word| word.store(frame, Ordering::Relaxed));
        self.word(gref, |word| {
            word.store(first_word(domid, flags), Ordering::Release);
        });
    }

    fn word<T>(&self, gref: GrantRef, access: impl FnOnce(&AtomicU32) -> T) -> Option<T> {
        self.atomic(gref, 0, access)
    }

    fn frame_word<T>(&self, gref: GrantRef, access: impl FnOnce(&AtomicU32) -> T) -> Option<T> {
        self.atomic(gref, ENTRY_FRAME, access)
    }

    fn atomic<T>(
        &self,
        gref: GrantRef,
        field: usize,
        access: impl FnOnce(&AtomicU32) -> T,
    ) -> Option<T> {
        let index = usize::try_from(gref.0).ok().filter(|_| gref.0 < CAPACITY)?;
        let at = index
            .checked_mul(ENTRY_SIZE)?
            .checked_add(self.offset)?
            .checked_add(field)?;
        self.window.slice().get_atomic_ref(at).ok().map(access)
    }
}

/// Flags and domid as they lie in memory.
fn first_word(domid: DomId, flags: u16) -> u32 {
    u32::from(flags) | u32::from(domid.0) << DOMID_SHIFT
}

/// Whether an entry whose first word is `word` lets `mapper` in.
fn permits(word: u32, mapper: DomId, access: Access) -> bool {
    let has = |flag: u16| word & u32::from(flag) != 0;
    word & u32::from(gtf::TYPE_MASK) == u32::from(gtf::PERMIT_ACCESS)
        && !has(gtf::SUB_PAGE)
        && word >> DOMID_SHIFT == u32::from(mapper.0)
        && (access == Access::ReadOnly || !has(gtf::READONLY))
}

/// The bits that an access sets while it lasts.
fn pin_bits(access: Access) -> u32 {
    match access {
        Access::ReadOnly => gtf::READING.into(),
        Access::ReadWrite => IN_USE,
    }
}
