//! The data pages of a request, seen as sectors.
//!
//! Knows where in its pages a request's sectors lie, and nothing of their content but the poison
//! that tells a page the backend wrote to from one that it did not.

use abi::io::blkif::SECTORS_PER_PAGE;
use abi::{Gfn, GrantRef, PAGE_SIZE, SECTOR_SIZE};
use vm_memory::VolatileSlice;

use super::Io;
use crate::memory::GuestMemory;

/// What pages hold before a read: no content that a disk would have.
const POISON: u8 = 0xA5;

/// The sectors of a request in the guest's memory.
#[derive(Debug)]
pub struct Sectors<'a> {
    memory: &'a GuestMemory,
    pages: &'a [(GrantRef, Gfn)],
    /// Where the data starts and ends, in sectors from the start of the first page.
    start: usize,
    end: usize,
}

impl<'a> Sectors<'a> {
    pub(super) fn new(memory: &'a GuestMemory, io: &Io, pages: &'a [(GrantRef, Gfn)]) -> Self {
        let start = usize::from(io.first_sect);
        Self {
            memory,
            pages,
            start,
            end: start + io.sectors as usize,
        }
    }

    /// Calls `look` with each sector's number within the request and its bytes.
    pub fn each(&self, mut look: impl FnMut(u32, VolatileSlice<'_>)) {
        for (index, place) in (0..).zip(self.start..self.end) {
            if let Some(sector) = self.at(place) {
                look(index, sector);
            }
        }
    }

    /// Sectors of the first and the last page that were not asked for and have changed.
    pub(super) fn outside(&self) -> impl Iterator<Item = u8> {
        let all = self.pages.len() * usize::from(SECTORS_PER_PAGE);
        let places = (0..self.start.min(all)).chain(self.end.min(all)..all);
        let changed =
            places.filter(|place| self.at(*place).is_some_and(|sector| !poisoned(sector)));
        let places: Vec<usize> = changed.collect();
        places
            .into_iter()
            .map(|place| u8::try_from(place % 8).unwrap_or(0))
    }

    fn at(&self, place: usize) -> Option<VolatileSlice<'a>> {
        let per_page = usize::from(SECTORS_PER_PAGE);
        let (_, gfn) = self.pages.get(place / per_page)?;
        let page = self.memory.frame(*gfn)?;
        page.subslice(place % per_page * SECTOR_SIZE, SECTOR_SIZE)
            .ok()
    }
}

/// Fills pages with what no disk holds.
pub(super) fn poison(memory: &GuestMemory, pages: &[(GrantRef, Gfn)]) {
    for page in pages.iter().filter_map(|(_, gfn)| memory.frame(*gfn)) {
        page.copy_from(&[POISON; PAGE_SIZE]);
    }
}

fn poisoned(sector: VolatileSlice<'_>) -> bool {
    let mut bytes = [0; SECTOR_SIZE];
    sector.copy_to(&mut bytes);
    bytes == [POISON; SECTOR_SIZE]
}
