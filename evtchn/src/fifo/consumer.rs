//! The domain's side: one receiver of a control block's events.
//!
//! It does not know who wakes it. Invariant: whatever stands in the shared memory, a call ends.

use abi::Port;
use abi::event_channel::fifo::{CONTROL_SIZE, MASKED, WORDS_PER_PAGE};

use super::scan::{Scan, mask, unmask};
use super::sync::Ordering;
use super::{Unfit, Words, fit};
use crate::SharedMemory;

/// A domain's own view of its event channels. There is one per control block.
#[derive(Debug)]
pub struct Consumer<M> {
    control: M,
    array: M,
    scan: Scan,
}

impl<M: SharedMemory> Consumer<M> {
    /// `control` begins with a control block of zeroes, `array` is room for the event array.
    pub fn new(control: M, array: M) -> Result<Self, Unfit> {
        fit("control block", &control, CONTROL_SIZE)?;
        fit("event array", &array, abi::PAGE_SIZE)?;
        Ok(Self {
            control,
            array,
            scan: Scan::default(),
        })
    }

    /// Masks every word of a page of the event array, before the hypervisor is told of it; false
    /// if there is no such page. A port is then delivered only once it is unmasked.
    #[must_use]
    pub fn mask_page(&self, page: u32) -> bool {
        let array = self.array.slice();
        let words = u32::try_from(WORDS_PER_PAGE).unwrap_or(0);
        let first = page.checked_mul(words);
        let range = first.and_then(|first| Some(first..first.checked_add(words)?));
        range.is_some_and(|mut range| {
            range.all(|index| {
                array
                    .word(index)
                    .map(|word| word.store(MASKED, Ordering::Release))
                    .is_some()
            })
        })
    }

    /// Takes the most urgent port that is pending and not masked. It is left masked and no longer
    /// pending. `None` means that the next event brings an upcall.
    pub fn pop(&mut self) -> Option<Port> {
        self.scan
            .pop(&self.control.slice(), &self.array.slice())
            .map(Port)
    }

    /// Masks a port: it may become pending, and is then delivered when unmasked.
    pub fn mask(&self, port: Port) {
        mask(&self.array.slice(), port.0);
    }

    /// Unmasks a port. True if it became pending meanwhile: the hypervisor must be asked to
    /// deliver it, [`Queues::unmask`](super::Queues::unmask).
    #[must_use]
    pub fn unmask(&self, port: Port) -> bool {
        unmask(&self.array.slice(), port.0)
    }
}
