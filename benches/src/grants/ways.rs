//! The three ways to move a request's data between a backend and a guest's granted pages.
//!
//! It measures nothing; it does one request at a time, so that others can.
//!
//! Invariant: every way moves the same bytes.

use abi::{DomId, GrantRef, PAGE_SIZE};
use halcyon::error::{Doing as _, Failure};
use reactor::{Lease, Pool};
use vm_memory::VolatileSlice;
use xen::{Access, CopyOp, Direction, GrantStatus, Grants, Mapped};

/// A page, as operations count bytes.
pub(super) const PAGE: u16 = 1 << abi::PAGE_SHIFT;

/// A way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The hypervisor copies, one batch for the request.
    Copy,
    /// The pages stay mapped; the process copies.
    Persistent,
    /// The pages are mapped, the process copies, and they are unmapped.
    MapEach,
}

impl Way {
    pub(super) const ALL: [Self; 3] = [Self::Copy, Self::Persistent, Self::MapEach];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Persistent => "persistent mapping",
            Self::MapEach => "map and unmap",
        }
    }
}

/// Serves read requests: data goes from own memory to the guest.
pub(super) struct Server<'a> {
    grants: &'a mut dyn Grants,
    domid: DomId,
    grefs: &'a [GrantRef],
    arena: Lease,
    mapped: Option<Box<dyn Mapped>>,
    ops: Vec<CopyOp>,
}

impl<'a> Server<'a> {
    /// A server of requests as long as `grefs` has pages. What `way` does once is done here.
    pub(super) fn new(
        grants: &'a mut dyn Grants,
        domid: DomId,
        grefs: &'a [GrantRef],
        way: Way,
    ) -> Result<Self, Failure> {
        let pool = Pool::new(1, grefs.len() * PAGE_SIZE).doing(|| "map memory".to_owned())?;
        let arena = pool.lease().expect("a new pool has all its leases");
        let whole = 0..arena.slice().len();
        // Touched, as memory that a disk has read into is.
        arena.slice().copy_from(&vec![0xa5_u8; whole.end]);
        let mapped = match way {
            Way::Persistent => Some(map(grants, domid, grefs)?),
            Way::Copy | Way::MapEach => None,
        };
        Ok(Self {
            ops: copy_ops(Direction::ToGuest, domid, grefs),
            grants,
            domid,
            grefs,
            arena,
            mapped,
        })
    }

    /// One request.
    pub(super) fn serve(&mut self, way: Way) -> Result<(), Failure> {
        match way {
            Way::Copy => {
                self.grants.copy(self.arena.slice(), &mut self.ops);
                all_copied(&self.ops)
            }
            Way::Persistent => {
                let mapped = self.mapped.as_ref().expect("mapped when it was made");
                fill(&self.arena.slice(), &mapped.slice());
                Ok(())
            }
            Way::MapEach => {
                let mapped = map(self.grants, self.domid, self.grefs)?;
                fill(&self.arena.slice(), &mapped.slice());
                Ok(())
            }
        }
    }
}

fn fill(from: &VolatileSlice<'_>, to: &VolatileSlice<'_>) {
    from.copy_to_volatile_slice(*to);
}

/// A copy of all pages, in order, from or to the start of an arena.
pub(super) fn copy_ops(direction: Direction, domid: DomId, grefs: &[GrantRef]) -> Vec<CopyOp> {
    let op = |(page, gref): (usize, &GrantRef)| CopyOp {
        direction,
        domid,
        gref: *gref,
        offset: 0,
        len: PAGE,
        local: page * PAGE_SIZE,
        status: GrantStatus(0),
    };
    grefs.iter().enumerate().map(op).collect()
}

pub(super) fn all_copied(ops: &[CopyOp]) -> Result<(), Failure> {
    let refused = ops.iter().find(|op| op.status != GrantStatus(0));
    refused.map_or(Ok(()), |op| {
        Err(Failure::failed(format!("copy was refused: {op:?}")))
    })
}

pub(super) fn map(
    grants: &mut dyn Grants,
    domid: DomId,
    grefs: &[GrantRef],
) -> Result<Box<dyn Mapped>, Failure> {
    let mapped = grants.map(domid, grefs, Access::ReadWrite);
    mapped.doing(|| format!("map {} pages of domain {domid}", grefs.len()))
}
