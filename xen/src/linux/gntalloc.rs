//! Pages of this domain, granted to another through `/dev/xen/gntalloc`: the guest's half, for
//! protocols and tests whose frontend is a process.
//!
//! UNSAFETY: requests pass the address of a structure to ioctl(2).
//!
//! Invariant: a page is granted while its value lives; the kernel keeps it, and the grant, for as
//! long after that as the other domain has it mapped.
#![expect(unsafe_code, reason = "ioctls; see the head of this file")]

use std::fs::File;
use std::rc::Rc;

use abi::linux::gntalloc::{self, AllocGref, DeallocGref};
use abi::{DomId, GrantRef, PAGE_SIZE};
use vm_memory::VolatileSlice;

use super::Error;
use super::sys::{self, Map, ioctl};
use crate::Access;

/// The open device.
#[derive(Debug)]
pub struct Gntalloc {
    file: Rc<File>,
}

impl Gntalloc {
    /// Opens the device.
    pub fn open() -> Result<Self, Error> {
        let file = Rc::new(sys::open(gntalloc::PATH)?);
        Ok(Self { file })
    }

    /// A page of zeroes that `domid` may use. A host's limit of such pages is 1024 unless the
    /// module was told otherwise.
    pub fn grant(&self, domid: DomId, access: Access) -> Result<Page, Error> {
        let flags = match access {
            Access::ReadOnly => 0,
            Access::ReadWrite => gntalloc::FLAG_WRITABLE,
        };
        let mut argument = AllocGref {
            domid: domid.0,
            flags,
            count: 1,
            ..AllocGref::default()
        };
        // SAFETY: room for one reference, and no addresses in it.
        let allocated = unsafe { ioctl(&self.file, gntalloc::ALLOC_GREF, &mut argument) };
        allocated.map_err(Error::os(gntalloc::PATH))?;
        let granted = Granted {
            file: self.file.clone(),
            index: argument.index,
        };
        let map = Map::new(&self.file, PAGE_SIZE, argument.index, Access::ReadWrite);
        Ok(Page {
            gref: GrantRef(argument.gref),
            map: map.map_err(Error::os(gntalloc::PATH))?,
            _granted: granted,
        })
    }
}

/// A page that is granted until dropped.
#[derive(Debug)]
pub struct Page {
    gref: GrantRef,
    // In this order: the kernel ends what is not mapped.
    map: Map,
    _granted: Granted,
}

impl Page {
    /// Its entry in the grant table.
    pub fn gref(&self) -> GrantRef {
        self.gref
    }

    /// Its bytes, which the other domain may change at any time.
    pub fn slice(&self) -> VolatileSlice<'_> {
        self.map.slice()
    }
}

#[derive(Debug)]
struct Granted {
    file: Rc<File>,
    index: u64,
}

impl Drop for Granted {
    fn drop(&mut self) {
        let mut argument = DeallocGref {
            index: self.index,
            count: 1,
            pad: 0,
        };
        // SAFETY: no addresses in it.
        let result = unsafe { ioctl(&self.file, gntalloc::DEALLOC_GREF, &mut argument) };
        debug_assert!(result.is_ok(), "end of an own grant: {result:?}");
    }
}
