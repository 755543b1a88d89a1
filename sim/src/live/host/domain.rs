//! One guest domain as the hypervisor keeps it: memory, grants, who is attached.
//!
//! It knows nothing of event channels but the number of its array.
//!
//! Invariant: a domain with pages mapped keeps its memory, whatever became of its guest.

use std::io;

use abi::grant_table::gntst;
use abi::{DomId, Gfn, GrantRef};
use xen::{Access, GrantStatus};

use super::failure::Failure;
use crate::grants::{Entries, Pins};
use crate::live::wire::{DomainInfo, NAME_MAX, NewDomain};
use crate::memory::{Region, Window};

/// A domain and what others hold of it.
#[derive(Debug)]
pub(super) struct Domain {
    new: NewDomain,
    pub(super) memory: Region,
    entries: Entries,
    pins: Pins,
    mapped: usize,
    /// Its event array; outlives the guest no longer than the guest itself.
    pub(super) array: u32,
    pub(super) guest: Guest,
    /// The event arrays of the backends that serve it.
    pub(super) backends: Vec<u32>,
    pub(super) destroyed: bool,
}

/// Whether a domain's guest runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guest {
    /// Not yet.
    Absent,
    /// As this client, in this process.
    Attached { client: u32, pid: u32 },
    /// Not any more: the domain is dying.
    Dead,
}

/// Grants that one client has mapped in one call.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) domid: DomId,
    grefs: Vec<GrantRef>,
    access: Access,
}

/// A grant that cannot be mapped.
#[derive(Debug)]
pub(super) struct MapRefused {
    pub(super) gref: GrantRef,
    pub(super) status: GrantStatus,
}

/// Refuses what no toolstack asks for.
pub(super) fn judge(new: &NewDomain) -> Result<(), Failure> {
    if new.name.len() > NAME_MAX || new.uuid.len() > NAME_MAX {
        return Err(Failure::new(libc::ENAMETOOLONG, "name or uuid is too long"));
    }
    if new.memory_bytes == 0 {
        return Err(Failure::new(libc::EINVAL, "a domain needs memory"));
    }
    Ok(())
}

impl Domain {
    /// A domain with that event array and grant table.
    pub(super) fn create(new: NewDomain, array: u32, grants: &Window) -> io::Result<Self> {
        let memory = Region::create(new.memory_bytes)?;
        Ok(Self {
            entries: Entries::new(grants.clone(), 0, memory.frames()),
            new,
            memory,
            pins: Pins::default(),
            mapped: 0,
            array,
            guest: Guest::Absent,
            backends: Vec::new(),
            destroyed: false,
        })
    }

    pub(super) fn is_dying(&self) -> bool {
        self.destroyed || self.guest == Guest::Dead
    }

    /// Whether nothing keeps a destroyed domain from going away.
    pub(super) fn is_over(&self) -> bool {
        self.destroyed && self.mapped == 0
    }

    /// What a toolstack may know.
    pub(super) fn info(&self, domid: DomId, ports: usize) -> DomainInfo {
        let guest_pid = match self.guest {
            Guest::Attached { pid, .. } => Some(pid),
            Guest::Absent | Guest::Dead => None,
        };
        DomainInfo {
            domid: domid.0,
            name: self.new.name.clone(),
            uuid: self.new.uuid.clone(),
            memory_bytes: self.memory.len_bytes(),
            guest_pid,
            backends: self.backends.len(),
            mapped: self.mapped,
            ports,
            dying: self.is_dying(),
        }
    }

    /// Pins all of `grefs` for the control domain, or none.
    pub(super) fn map(
        &mut self,
        domid: DomId,
        grefs: &[u32],
        writable: bool,
    ) -> Result<(Mapping, Vec<Gfn>), MapRefused> {
        let access = if writable {
            Access::ReadWrite
        } else {
            Access::ReadOnly
        };
        let mut mapping = Mapping {
            domid,
            grefs: Vec::new(),
            access,
        };
        let mut gfns = Vec::with_capacity(grefs.len());
        for &gref in grefs {
            let gref = GrantRef(gref);
            match self.pins.pin(&self.entries, DomId::DOM0, gref, access) {
                Ok(gfn) => {
                    mapping.grefs.push(gref);
                    gfns.push(gfn);
                    self.mapped += 1;
                }
                Err(status) => {
                    self.unmap(&mapping);
                    return Err(MapRefused { gref, status });
                }
            }
        }
        Ok((mapping, gfns))
    }

    /// Undoes a map.
    pub(super) fn unmap(&mut self, mapping: &Mapping) {
        for &gref in &mapping.grefs {
            self.pins.unpin(&self.entries, gref, mapping.access);
            self.mapped -= 1;
        }
    }
}

impl MapRefused {
    /// The domain is not one that this client may map from.
    pub(super) fn bad_domain(gref: u32) -> Self {
        Self {
            gref: GrantRef(gref),
            status: GrantStatus(gntst::BAD_DOMAIN),
        }
    }
}
