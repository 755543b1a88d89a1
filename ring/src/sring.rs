//! `struct sring` over shared memory: the four index words and the slots.
//!
//! Sees no content. Invariant: every offset it computes lies within what [`Sring::new`] checked.

use std::sync::atomic::{AtomicU32, Ordering};

use abi::io::ring::{HEADER_SIZE, REQ_EVENT, REQ_PROD, RSP_EVENT, RSP_PROD};
use vm_memory::{VolatileMemory, VolatileSlice};

use crate::{Corrupt, SharedPages};

/// Why an access within the checked length can still fail: the owner of the memory broke
/// [`SharedPages`]. No peer can bring that about.
const SAME_MEMORY: &str = "ring memory that shrank or moved while in use";

#[derive(Debug)]
pub(crate) struct Sring<M> {
    memory: M,
    entries: u32,
    stride: usize,
}

impl<M: SharedPages> Sring<M> {
    pub(crate) fn new(memory: M, entries: u32, stride: usize) -> Result<Self, Corrupt> {
        let slots = usize::try_from(entries)
            .ok()
            .and_then(|entries| entries.checked_mul(stride));
        let need = slots
            .and_then(|slots| slots.checked_add(HEADER_SIZE))
            .ok_or(Corrupt::Size)?;
        let has = memory.slice().len();
        if has < need || !entries.is_power_of_two() || entries > 1 << 30 {
            return Err(Corrupt::Size);
        }
        // Reaching a word also checks the alignment.
        memory
            .slice()
            .get_atomic_ref::<AtomicU32>(REQ_PROD)
            .map_err(|_| Corrupt::Size)?;
        Ok(Self {
            memory,
            entries,
            stride,
        })
    }

    pub(crate) fn entries(&self) -> u32 {
        self.entries
    }

    pub(crate) fn memory(&self) -> &M {
        &self.memory
    }

    pub(crate) fn into_memory(self) -> M {
        self.memory
    }

    pub(crate) fn header(&self) -> Header<'_> {
        Header(self.memory.slice())
    }

    /// Copies the slot of an index out, once; as many bytes as both have.
    pub(crate) fn copy_out(&self, index: u32, to: &mut [u8]) {
        self.slot(index).copy_to(to);
    }

    /// Copies bytes to the start of the slot of an index; as many as it holds.
    pub(crate) fn copy_in(&self, index: u32, from: &[u8]) {
        self.slot(index).copy_from(from);
    }

    fn slot(&self, index: u32) -> VolatileSlice<'_> {
        // Below `entries`, a power of two; `new` checked that the product fits.
        let slot = (index & (self.entries - 1)) as usize;
        let at = HEADER_SIZE + slot * self.stride;
        self.memory
            .slice()
            .subslice(at, self.stride)
            .expect(SAME_MEMORY)
    }
}

/// The index words, for the length of one operation.
pub(crate) struct Header<'a>(VolatileSlice<'a>);

impl Header<'_> {
    pub(crate) fn req_prod(&self) -> &AtomicU32 {
        self.word(REQ_PROD)
    }

    pub(crate) fn req_event(&self) -> &AtomicU32 {
        self.word(REQ_EVENT)
    }

    pub(crate) fn rsp_prod(&self) -> &AtomicU32 {
        self.word(RSP_PROD)
    }

    pub(crate) fn rsp_event(&self) -> &AtomicU32 {
        self.word(RSP_EVENT)
    }

    /// Zeroes the header, and asks to be told of the first slot both ways (`SHARED_RING_INIT`).
    pub(crate) fn initialise(&self) {
        self.0
            .subslice(0, HEADER_SIZE)
            .expect(SAME_MEMORY)
            .copy_from(&[0_u8; HEADER_SIZE]);
        self.req_event().store(1, Ordering::Relaxed);
        self.rsp_event().store(1, Ordering::Relaxed);
    }

    fn word(&self, at: usize) -> &AtomicU32 {
        self.0.get_atomic_ref(at).expect(SAME_MEMORY)
    }
}
