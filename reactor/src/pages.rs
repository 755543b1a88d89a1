//! Memory that operations borrow: one arena of whole pages, cut into equal leases.
//!
//! Knows nothing of what travels in it, nor of who else (a kernel, a guest copy) writes to it; that
//! is why every view is volatile. A lease that a kernel writes to stays valid because whoever
//! started the write, the reactor, owns the lease until it has landed.
//!
//! UNSAFETY: this file maps the arena and hands out volatile views of it; all other code reaches
//! the memory through those views.
//!
//! Invariant: a range of the arena belongs to at most one [`Lease`] at a time, and the mapping
//! outlives every lease.
#![expect(
    unsafe_code,
    reason = "views of a private mapping; see the head of this file"
)]

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use memmap2::{Advice, MmapOptions, MmapRaw, UncheckedAdvice};
use vm_memory::VolatileSlice;

/// The unit of `O_DIRECT` memory alignment on every device that Linux drives, and of giving memory
/// back. Where pages are larger, the mapping itself is aligned better still.
const PAGE_BYTES: usize = 4096;

/// An anonymous mapping cut into equal leases; last returned, first lent, so that a quiet disk touches
/// few pages. A clone is another handle on the same arena.
#[derive(Debug, Clone)]
pub struct Pool {
    arena: Rc<Arena>,
}

/// A part of a [`Pool`], returned when dropped.
#[derive(Debug)]
pub struct Lease {
    arena: Rc<Arena>,
    index: usize,
}

#[derive(Debug)]
struct Arena {
    mapping: MmapRaw,
    lease_bytes: usize,
    /// Indices of the leases at home; the next to lend is the last.
    free: RefCell<Vec<usize>>,
}

impl Pool {
    /// Maps `count` leases of `len_bytes` each, rounded up to whole pages. Nothing is touched.
    ///
    /// Fails with `InvalidInput` when either is zero or the product overflows, or as mmap does.
    pub fn new(count: usize, len_bytes: usize) -> io::Result<Self> {
        match len_bytes.checked_next_multiple_of(PAGE_BYTES) {
            Some(lease_bytes) => Self::packed(count, lease_bytes),
            None => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// As [`Pool::new`], but with leases side by side, which may share a page: for streams, which do
    /// not mind how memory is aligned.
    pub fn packed(count: usize, lease_bytes: usize) -> io::Result<Self> {
        let Some(total_bytes @ 1..) = lease_bytes.checked_mul(count) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let arena = Arena {
            mapping: MmapRaw::from(MmapOptions::new().len(total_bytes).map_anon()?),
            lease_bytes,
            free: RefCell::new((0..count).rev().collect()),
        };
        arena.use_small_pages();
        Ok(Self {
            arena: Rc::new(arena),
        })
    }

    /// Lends one, or `None` when all are lent.
    pub fn lease(&self) -> Option<Lease> {
        let index = self.arena.free.borrow_mut().pop()?;
        Some(Lease {
            arena: Rc::clone(&self.arena),
            index,
        })
    }

    /// How many leases are at home.
    pub fn free(&self) -> usize {
        self.arena.free.borrow().len()
    }

    /// The whole arena, for batched grant copies; [`Lease::arena_offset`] says where a lease lies.
    pub fn arena(&self) -> VolatileSlice<'_> {
        self.arena.view(0, self.arena.mapping.len())
    }

    /// Gives the pages of all free leases back to the system. Their contents read as zeros
    /// afterwards; leases that are lent keep theirs.
    pub fn cool(&self) {
        let mut free = self.arena.free.borrow_mut();
        // Lowest index last, so that what is lent next stays together at the start.
        free.sort_unstable_by(|a, b| b.cmp(a));
        for run in free.chunk_by(|above, below| *above == below + 1) {
            if let (Some(first), len) = (run.last(), run.len()) {
                self.arena.forget(*first, len);
            }
        }
    }
}

impl Lease {
    /// Where this lease starts within [`Pool::arena`].
    pub fn arena_offset(&self) -> usize {
        // Cannot overflow: `index` is below the count that `Pool::new` multiplied with.
        self.index * self.arena.lease_bytes
    }

    /// The bytes lent.
    pub fn slice(&self) -> VolatileSlice<'_> {
        self.arena.view(self.arena_offset(), self.arena.lease_bytes)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.arena.free.borrow_mut().push(self.index);
    }
}

impl Arena {
    fn view(&self, offset: usize, len_bytes: usize) -> VolatileSlice<'_> {
        debug_assert!(offset + len_bytes <= self.mapping.len());
        // SAFETY: all callers in this file pass a range within the mapping.
        let start = unsafe { self.mapping.as_mut_ptr().add(offset) };
        // SAFETY: the range is mapped for as long as the arena lives, which the lifetime of the
        // slice is tied to, and is only ever reached through volatile views.
        unsafe { VolatileSlice::new(start, len_bytes) }
    }

    /// Drops the pages that lie within `count` leases from `first` on.
    fn forget(&self, first: usize, count: usize) {
        let start = (first * self.lease_bytes).next_multiple_of(PAGE_BYTES);
        let len_bytes = ((first + count) * self.lease_bytes).saturating_sub(start);
        let len_bytes = len_bytes - len_bytes % PAGE_BYTES;
        // SAFETY: the range is within free leases, whose contents nobody may rely on; the memory
        // stays mapped, as zeros.
        let advised = unsafe {
            self.mapping
                .unchecked_advise_range(UncheckedAdvice::DontNeed, start, len_bytes)
        };
        // It is advice: a kernel that does not take it (locked memory) leaves us as we were.
        drop(advised);
    }

    /// One touched lease must not become a huge page of private memory. A kernel without transparent
    /// huge pages answers EINVAL, which is as good.
    fn use_small_pages(&self) {
        drop(self.mapping.advise(Advice::NoHugePage));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::Bytes;

    fn pool() -> Pool {
        Pool::new(4, 5000).unwrap()
    }

    #[test]
    fn a_lease_is_whole_pages_and_page_aligned() {
        let pool = pool();
        let lease = pool.lease().unwrap();
        assert_eq!(lease.slice().len(), 8192);
        assert_eq!(
            lease.slice().ptr_guard().as_ptr().align_offset(PAGE_BYTES),
            0
        );
    }

    #[test]
    fn the_lease_returned_last_is_lent_first() {
        let pool = pool();
        let (first, second) = (pool.lease().unwrap(), pool.lease().unwrap());
        let returned_last = first.arena_offset();
        drop(second);
        drop(first);
        assert_eq!(pool.lease().unwrap().arena_offset(), returned_last);
    }

    #[test]
    fn no_two_leases_overlap_and_an_exhausted_pool_lends_nothing() {
        let pool = pool();
        let leases: Vec<Lease> = std::iter::from_fn(|| pool.lease()).collect();
        let mut offsets: Vec<usize> = leases.iter().map(Lease::arena_offset).collect();
        offsets.sort_unstable();
        assert_eq!(offsets, [0, 8192, 16384, 24576]);
        assert!(pool.lease().is_none());
    }

    #[test]
    fn the_arena_shows_what_a_lease_wrote() {
        let pool = pool();
        let lease = pool.lease().unwrap();
        lease.slice().write_obj(0x5eed_u64, 8).unwrap();
        let seen: u64 = pool.arena().read_obj(lease.arena_offset() + 8).unwrap();
        assert_eq!(seen, 0x5eed);
    }

    #[test]
    fn cooling_zeroes_free_leases_and_keeps_lent_ones() {
        let pool = pool();
        let leases: Vec<Lease> = std::iter::from_fn(|| pool.lease()).collect();
        leases
            .iter()
            .for_each(|lease| lease.slice().write_obj(7_u8, 0).unwrap());
        let kept = leases.into_iter().nth(2).unwrap();
        pool.cool();
        let first_bytes: Vec<u8> = (0..4)
            .map(|index| pool.arena().read_obj(index * 8192).unwrap())
            .collect();
        assert_eq!(first_bytes, [0, 0, 7, 0]);
        assert_eq!(kept.arena_offset(), 16384);
    }

    #[test]
    fn cooling_with_every_lease_at_home_leaves_zeros_that_can_be_written() {
        let pool = pool();
        let lease = pool.lease().unwrap();
        lease.slice().write_obj(7_u8, 0).unwrap();
        drop(lease);
        pool.cool();
        let lease = pool.lease().unwrap();
        assert_eq!(lease.slice().read_obj::<u8>(0).unwrap(), 0);
        lease.slice().write_obj(8_u8, 0).unwrap();
        assert_eq!(pool.arena().read_obj::<u8>(0).unwrap(), 8);
    }

    #[test]
    fn packed_leases_lie_side_by_side() {
        let pool = Pool::packed(4, 1024).unwrap();
        let leases: Vec<Lease> = std::iter::from_fn(|| pool.lease()).collect();
        let offsets: Vec<usize> = leases.iter().map(Lease::arena_offset).collect();
        assert_eq!(offsets, [0, 1024, 2048, 3072]);
        assert_eq!(pool.arena().len(), 4096);
    }

    #[test]
    fn cooling_keeps_a_lent_lease_whose_page_others_share() {
        let pool = Pool::packed(9, 1024).unwrap();
        let leases: Vec<Lease> = std::iter::from_fn(|| pool.lease()).collect();
        leases
            .iter()
            .for_each(|lease| lease.slice().write_obj(7_u8, 0).unwrap());
        let kept = leases.into_iter().next().unwrap();
        pool.cool();
        let first_bytes: Vec<u8> = (0..9)
            .map(|index| pool.arena().read_obj(index * 1024).unwrap())
            .collect();
        assert_eq!(first_bytes, [7, 7, 7, 7, 0, 0, 0, 0, 7]);
        assert_eq!(kept.arena_offset(), 0);
    }

    #[test]
    fn a_lease_outlives_its_pool() {
        let lease = pool().lease().unwrap();
        lease.slice().write_obj(1_u8, 0).unwrap();
        assert_eq!(lease.slice().read_obj::<u8>(0).unwrap(), 1);
    }

    #[test]
    fn a_pool_of_nothing_is_refused() {
        assert!(Pool::new(0, 4096).is_err());
        assert!(Pool::new(1, 0).is_err());
        assert!(Pool::new(2, usize::MAX).is_err());
    }
}
