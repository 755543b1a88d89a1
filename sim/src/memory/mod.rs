//! Memory that guests, backends and the simulated hypervisor share.
//!
//! [`Region`] is a sealed, sparse memory file; [`GuestMemory`] is a region that serves as a
//! guest's RAM, in frames of 4 KiB; [`Frames`] hands frames out in a scattered order, as a guest
//! that has been up for a while would. It knows nothing of grants, events or processes.
//!
//! Invariant: a region never changes its length, so no access within it can fault.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use abi::{Gfn, PAGE_SIZE};
use vm_memory::VolatileSlice;

mod frames;
mod map;

pub use frames::Frames;
use map::{Map, Run};

use crate::sys;

/// A sealed, sparse memory file. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Region {
    file: Arc<File>,
    len_bytes: u64,
}

impl Region {
    /// Creates one of `len_bytes`, rounded up to whole pages. Touches nothing.
    pub fn create(len_bytes: u64) -> io::Result<Self> {
        let len_bytes = len_bytes
            .checked_next_multiple_of(PAGE_SIZE as u64)
            .filter(|&len| len > 0)
            .ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self {
            file: Arc::new(sys::sealed_memfd(len_bytes)?),
            len_bytes,
        })
    }

    /// Takes over a descriptor received from another process; refuses one that is not sealed.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let file = File::from(fd);
        sys::require_sealed(&file)?;
        let len_bytes = file.metadata()?.len();
        if len_bytes == 0 || !len_bytes.is_multiple_of(PAGE_SIZE as u64) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self {
            file: Arc::new(file),
            len_bytes,
        })
    }

    /// The file itself, to be passed on or read with `pread`.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Another descriptor of the same memory.
    pub fn try_clone_fd(&self) -> io::Result<OwnedFd> {
        self.file.as_fd().try_clone_to_owned()
    }

    /// Its length.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// How many whole frames it has.
    pub fn frames(&self) -> u64 {
        self.len_bytes / PAGE_SIZE as u64
    }

    /// Maps all of it, for loads and stores.
    pub fn map(&self) -> io::Result<Window> {
        self.map_part(
            0,
            usize::try_from(self.len_bytes).map_err(io::Error::other)?,
        )
    }

    /// Maps `len` bytes from `offset` on, whole pages both, for loads and stores. A part that ends
    /// beyond the end is refused.
    pub fn map_part(&self, offset: usize, len: usize) -> io::Result<Window> {
        let offset = offset as u64;
        if offset.saturating_add(len as u64) > self.len_bytes {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Window {
            map: Arc::new(Map::new(&self.file, &[Run { offset, len }], true)?),
        })
    }

    /// Maps the frames `gfns` side by side, in that order. A frame beyond the end is refused.
    pub fn map_frames(&self, gfns: &[Gfn], writable: bool) -> io::Result<Window> {
        if gfns.is_empty() || gfns.iter().any(|gfn| gfn.0 >= self.frames()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Window {
            map: Arc::new(Map::new(&self.file, &runs(gfns), writable)?),
        })
    }
}

/// Joins frames that follow each other, so that each run costs one mapping.
fn runs(gfns: &[Gfn]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::with_capacity(gfns.len());
    for gfn in gfns {
        let offset = gfn.0 * PAGE_SIZE as u64;
        match runs.last_mut() {
            Some(run) if run.offset + run.len as u64 == offset => run.len += PAGE_SIZE,
            _ => runs.push(Run {
                offset,
                len: PAGE_SIZE,
            }),
        }
    }
    runs
}

/// A mapping of a [`Region`] or of some of its frames. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Window {
    map: Arc<Map>,
}

impl Window {
    /// The mapped bytes. Other processes may write to them at any time.
    pub fn slice(&self) -> VolatileSlice<'_> {
        self.map.slice()
    }
}

/// A guest's memory, mapped. Cloning shares it.
#[derive(Clone, Debug)]
pub struct GuestMemory {
    region: Region,
    window: Window,
}

impl GuestMemory {
    /// Creates the memory of a guest. Touches nothing: pages appear when first written.
    pub fn create(len_bytes: u64) -> io::Result<Self> {
        Self::map(Region::create(len_bytes)?)
    }

    /// Maps memory that exists already.
    pub fn map(region: Region) -> io::Result<Self> {
        let window = region.map()?;
        Ok(Self { region, window })
    }

    /// The file behind it.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// How many frames there are; frame numbers run from 0.
    pub fn frames(&self) -> u64 {
        self.region.frames()
    }

    /// All of it.
    pub fn slice(&self) -> VolatileSlice<'_> {
        self.window.slice()
    }

    /// One frame, or `None` beyond the end.
    pub fn frame(&self, gfn: Gfn) -> Option<VolatileSlice<'_>> {
        let offset = usize::try_from(gfn.0).ok()?.checked_mul(PAGE_SIZE)?;
        self.slice().subslice(offset, PAGE_SIZE).ok()
    }

    /// One frame as an owner that keeps the memory alive, or `None` beyond the end.
    pub fn page(&self, gfn: Gfn) -> Option<Page> {
        self.frame(gfn)?;
        Some(Page {
            memory: self.clone(),
            gfn,
        })
    }

    /// Frames side by side, as a guest kernel's `vmap` gives them: for rings of several pages.
    pub fn window(&self, gfns: &[Gfn]) -> io::Result<Window> {
        self.region.map_frames(gfns, true)
    }
}

/// One frame of a guest, usable where an owner of shared memory is wanted.
#[derive(Clone, Debug)]
pub struct Page {
    memory: GuestMemory,
    gfn: Gfn,
}

impl Page {
    /// Which frame.
    pub fn gfn(&self) -> Gfn {
        self.gfn
    }

    /// Its bytes.
    pub fn slice(&self) -> VolatileSlice<'_> {
        self.memory
            .frame(self.gfn)
            .expect("checked when the page was made")
    }
}

#[cfg(test)]
mod tests;
