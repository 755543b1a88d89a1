//! The shared ring of `io/ring.h`: a frontend's requests one way, a backend's responses the other,
//! in the same slots.
//!
//! [`Back`] and [`Front`] are the two halves, over memory that the peer may change at any moment.
//! This is the only place that reasons about the memory order of rings (`order`). It does not know
//! what travels in a slot, nor how a notification is sent.
//!
//! Invariants: a slot is copied exactly once and used only from the copy; whatever the peer writes
//! costs a bounded amount of work, and a lie about an index is [`Corrupt`], never a loop.

#![forbid(unsafe_code)]

use vm_memory::VolatileSlice;

mod back;
mod front;
mod order;
mod sring;
mod sync;

pub use back::Back;
pub use front::Front;
pub use order::{Corrupt, Notify};

/// The pages of a ring: whoever owns the mapping, the allocation or the grant.
///
/// Every call returns the same memory, at least 4-byte aligned.
pub trait SharedPages {
    /// The ring's bytes, contiguous. The peer may write to them at any time.
    fn slice(&self) -> VolatileSlice<'_>;
}

impl SharedPages for VolatileSlice<'_> {
    fn slice(&self) -> VolatileSlice<'_> {
        *self
    }
}

macro_rules! forward {
    ($($owner:ty),*) => {$(
        impl<T: SharedPages + ?Sized> SharedPages for $owner {
            fn slice(&self) -> VolatileSlice<'_> {
                T::slice(self)
            }
        }
    )*};
}

forward!(&T, Box<T>, std::rc::Rc<T>, std::sync::Arc<T>);
