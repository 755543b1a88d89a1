//! Page-aligned memory that operations borrow: one arena, cut into equal leases.
//!
//! UNSAFETY: this file maps the arena and hands out volatile views of it; all other code reaches
//! the memory through those views.
//!
//! Invariant: a range of the arena belongs to at most one [`Lease`] at a time, and the mapping
//! outlives every lease.

use vm_memory::VolatileSlice;

/// An anonymous mapping cut into equal, page-aligned leases; last returned, first lent, so that a
/// quiet disk touches few pages.
#[derive(Debug, Clone)]
pub struct Pool {}

/// A part of a [`Pool`], returned when dropped.
#[derive(Debug)]
pub struct Lease {}

impl Pool {
    /// Maps `count` leases of `len_bytes` each, rounded up to whole pages. Nothing is touched.
    pub fn new(count: usize, len_bytes: usize) -> std::io::Result<Self> {
        let _ = (count, len_bytes);
        unimplemented!()
    }

    /// Lends one, or `None` when all are lent.
    pub fn lease(&self) -> Option<Lease> {
        unimplemented!()
    }

    /// The whole arena, for batched grant copies; [`Lease::arena_offset`] says where a lease lies.
    pub fn arena(&self) -> VolatileSlice<'_> {
        unimplemented!()
    }

    /// Gives the pages of all free leases back to the system.
    pub fn cool(&self) {}
}

impl Lease {
    /// Where this lease starts within [`Pool::arena`].
    pub fn arena_offset(&self) -> usize {
        unimplemented!()
    }

    /// The bytes lent.
    pub fn slice(&self) -> VolatileSlice<'_> {
        unimplemented!()
    }
}
