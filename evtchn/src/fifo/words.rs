//! Numbered words: all that the FIFO algorithm sees of memory.
//!
//! It does not know where they lie. Invariant: an index that is not there is `None`.

use super::sync::AtomicU32;

/// Memory as numbered 32-bit words, every one of which another process may change at any moment.
pub trait Words {
    /// The word at `index`, counted in words from the start of the memory.
    fn word(&self, index: u32) -> Option<&AtomicU32>;
}

impl<T: Words + ?Sized> Words for &T {
    fn word(&self, index: u32) -> Option<&AtomicU32> {
        T::word(self, index)
    }
}
