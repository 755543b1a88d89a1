//! The older two-level event channel ABI, for comparison with the FIFO one.
//!
//! A pending and a mask bit per port, in `shared_info`, and for the receiving processor a selector
//! with one bit per word of them: 64 × 64 bits in a 64-bit domain, 4,095 ports as port 0 is unused.
//! No priorities, no queues and no lock; finding a port costs two bit scans, and fairness needs
//! the scan to go on where it last stopped. Nothing in Halcyon runs on it.
//!
//! The words lie in one memory, in the order of `xen.h`: the upcall flag of `vcpu_info`, its
//! selector, the pending words, the mask words. Invariant: whatever stands there, a call ends.

use std::sync::atomic::{AtomicU64, Ordering};

use abi::Port;
use abi::event_channel::two_level::{NR_CHANNELS, WORD_BITS};
use vm_memory::{VolatileMemory, VolatileSlice};

use crate::SharedMemory;
use crate::fifo::{Raise, Unfit};

const UPCALL_AT: usize = 0;
const SELECTOR_AT: usize = 1;
const PENDING_AT: usize = 2;
const MASK_AT: usize = PENDING_AT + WORD_BITS;

/// Bytes of the shared memory.
pub const SHARED_BYTES: usize = (MASK_AT + WORD_BITS) * size_of::<u64>();

fn long<'a>(memory: &'a VolatileSlice<'_>, index: usize) -> Option<&'a AtomicU64> {
    memory
        .get_atomic_ref(index.checked_mul(size_of::<u64>())?)
        .ok()
}

fn fit(memory: &impl SharedMemory) -> Result<(), Unfit> {
    let slice = memory.slice();
    let len_bytes = slice.len();
    let reachable = len_bytes >= SHARED_BYTES && long(&slice, 0).is_some();
    reachable.then_some(()).ok_or(Unfit {
        part: "shared info",
        len_bytes,
    })
}

/// The word of a port that exists, counted from the first, and its bit.
fn place(port: Port) -> Option<(usize, u64)> {
    let port = usize::try_from(port.0)
        .ok()
        .filter(|port| (1..NR_CHANNELS).contains(port))?;
    Some((port.checked_div(WORD_BITS)?, 1 << (port % WORD_BITS)))
}

/// Marks a port's word in the selector; what the sender has to do next.
fn select(memory: &VolatileSlice<'_>, word: usize) -> Option<Raise> {
    let bit = 1_u64.checked_shl(u32::try_from(word).ok()?)?;
    if long(memory, SELECTOR_AT)?.fetch_or(bit, Ordering::AcqRel) & bit != 0 {
        return Some(Raise::Nothing);
    }
    let before = long(memory, UPCALL_AT)?.swap(1, Ordering::AcqRel);
    Some(if before == 0 {
        Raise::Upcall
    } else {
        Raise::Nothing
    })
}

/// The hypervisor's side: one domain's bitmaps.
#[derive(Debug)]
pub struct Bitmaps<M> {
    memory: M,
}

impl<M: SharedMemory> Bitmaps<M> {
    /// `memory` are at least [`SHARED_BYTES`], all zero for a new domain.
    pub fn new(memory: M) -> Result<Self, Unfit> {
        fit(&memory)?;
        Ok(Self { memory })
    }

    /// Raises the event of a port; one that does not exist is ignored.
    pub fn set_pending(&self, port: Port) -> Raise {
        self.raise(port).unwrap_or(Raise::Nothing)
    }

    fn raise(&self, port: Port) -> Option<Raise> {
        let memory = self.memory.slice();
        let (word, bit) = place(port)?;
        let pending = long(&memory, PENDING_AT.checked_add(word)?)?;
        if pending.fetch_or(bit, Ordering::AcqRel) & bit != 0 {
            return Some(Raise::Nothing);
        }
        // Pairs with the one of `unmask`: of two that race, one sees what the other did.
        std::sync::atomic::fence(Ordering::SeqCst);
        let masked = long(&memory, MASK_AT.checked_add(word)?)?.load(Ordering::Acquire) & bit;
        if masked != 0 {
            return Some(Raise::Nothing);
        }
        select(&memory, word)
    }
}

/// The domain's side, with one processor.
#[derive(Debug)]
pub struct Consumer<M> {
    memory: M,
    /// Words of the selector that were seen and are not yet empty.
    selected: u64,
    /// The port to look at first, so that a busy one cannot starve those above it.
    next: usize,
}

impl<M: SharedMemory> Consumer<M> {
    /// `memory` are at least [`SHARED_BYTES`], all zero for a new domain.
    pub fn new(memory: M) -> Result<Self, Unfit> {
        fit(&memory)?;
        Ok(Self {
            memory,
            selected: 0,
            next: 0,
        })
    }

    /// Takes the next port that is pending and not masked. It is left masked and no longer pending.
    /// `None` means that the next event brings an upcall.
    pub fn pop(&mut self) -> Option<Port> {
        // A word that is looked at and found empty leaves the selection; 64 of them are all.
        for _ in 0..=2 * WORD_BITS {
            self.collect()?;
            let first = u32::try_from(self.next.checked_div(WORD_BITS)?).ok()?;
            let ahead = self.selected.rotate_right(first);
            if ahead == 0 {
                return None;
            }
            let word = first.wrapping_add(ahead.trailing_zeros()) % u64::BITS;
            if let Some(port) = self.take(word)? {
                return Some(port);
            }
        }
        None
    }

    /// Masks a port.
    pub fn mask(&self, port: Port) {
        let memory = self.memory.slice();
        if let Some((word, bit)) = place(port) {
            long(&memory, MASK_AT.saturating_add(word))
                .map(|it| it.fetch_or(bit, Ordering::AcqRel));
        }
    }

    /// Unmasks a port and delivers it again if it became pending meanwhile, as a processor may do
    /// without a hypercall for ports that are bound to it.
    pub fn unmask(&self, port: Port) -> Raise {
        self.relink(port).unwrap_or(Raise::Nothing)
    }

    fn relink(&self, port: Port) -> Option<Raise> {
        let memory = self.memory.slice();
        let (word, bit) = place(port)?;
        long(&memory, MASK_AT.checked_add(word)?)?.fetch_and(!bit, Ordering::AcqRel);
        std::sync::atomic::fence(Ordering::SeqCst);
        let pending = long(&memory, PENDING_AT.checked_add(word)?)?.load(Ordering::Acquire) & bit;
        if pending == 0 {
            return Some(Raise::Nothing);
        }
        select(&memory, word)
    }

    /// Clears the upcall flag before the selector is read, so that a later event sets it again.
    fn collect(&mut self) -> Option<()> {
        let memory = self.memory.slice();
        let upcall = long(&memory, UPCALL_AT)?;
        if upcall.load(Ordering::Relaxed) != 0 {
            upcall.swap(0, Ordering::AcqRel);
            self.selected |= long(&memory, SELECTOR_AT)?.swap(0, Ordering::AcqRel);
        }
        Some(())
    }

    /// Takes a port of a word, the first at or above `next` if that lies in it.
    fn take(&mut self, word: u32) -> Option<Option<Port>> {
        let memory = self.memory.slice();
        let index = usize::try_from(word).ok()?;
        let base = index.checked_mul(WORD_BITS)?;
        let pending = long(&memory, PENDING_AT.checked_add(index)?)?;
        let mask = long(&memory, MASK_AT.checked_add(index)?)?;
        let ready = pending.load(Ordering::Acquire) & !mask.load(Ordering::Acquire);
        let start = self
            .next
            .checked_sub(base)
            .filter(|it| *it < WORD_BITS)
            .unwrap_or(0);
        let above = u32::try_from(start)
            .ok()
            .and_then(|it| u64::MAX.checked_shl(it))
            .unwrap_or(0);
        let found = ready & above;
        if found == 0 {
            return self.leave(word, index, ready);
        }
        let bit = found & found.wrapping_neg();
        mask.fetch_or(bit, Ordering::AcqRel);
        pending.fetch_and(!bit, Ordering::AcqRel);
        let port = base.checked_add(usize::try_from(bit.trailing_zeros()).ok()?)?;
        self.next = port.checked_add(1)? % NR_CHANNELS;
        Some(Some(Port(u32::try_from(port).ok()?)))
    }

    /// Goes on behind a word; one without any port leaves the selection.
    fn leave(&mut self, word: u32, index: usize, ready: u64) -> Option<Option<Port>> {
        if ready == 0 {
            self.selected &= !1_u64.checked_shl(word)?;
        }
        self.next = index.checked_add(1)?.checked_mul(WORD_BITS)? % NR_CHANNELS;
        Some(None)
    }
}
