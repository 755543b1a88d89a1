//! Shared memory as numbered 32-bit words.
//!
//! The FIFO algorithm reads and writes words and knows nothing of mappings; this file is where
//! words meet `vm_memory`. Invariant: a word outside the memory is `None`, never an access.

use vm_memory::{VolatileMemory, VolatileSlice};

use crate::fifo::Words;
use crate::sync::AtomicU32;

/// Memory that other processes may change at any moment: a mapping, an allocation, a grant.
///
/// Every call returns the same memory, at least 8-byte aligned.
pub trait SharedMemory {
    /// All of it, contiguous.
    fn slice(&self) -> VolatileSlice<'_>;
}

impl SharedMemory for VolatileSlice<'_> {
    fn slice(&self) -> VolatileSlice<'_> {
        *self
    }
}

macro_rules! forward {
    ($($owner:ty),*) => {$(
        impl<T: SharedMemory + ?Sized> SharedMemory for $owner {
            fn slice(&self) -> VolatileSlice<'_> {
                T::slice(self)
            }
        }
    )*};
}

forward!(&T, Box<T>, std::rc::Rc<T>, std::sync::Arc<T>);

impl Words for VolatileSlice<'_> {
    fn word(&self, index: u32) -> Option<&AtomicU32> {
        let offset = usize::try_from(index).ok()?.checked_mul(size_of::<u32>())?;
        self.get_atomic_ref(offset).ok()
    }
}
