//! Grants as a backend uses them: pages that a guest lends, copied or mapped.
//!
//! Invariant: a grant operation never touches memory outside the arena or the granted page, and
//! whatever a guest does to its table meanwhile costs that guest's request alone.

use abi::{DomId, GrantRef};
use vm_memory::VolatileSlice;

/// Which way a copy goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the guest's granted page into the arena.
    FromGuest,
    /// From the arena into the guest's granted page.
    ToGuest,
}

/// What may be done with a mapped grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Loads only.
    ReadOnly,
    /// Loads and stores; refused where the guest granted read-only.
    ReadWrite,
}

/// The hypervisor's verdict on one grant operation: `GNTST_*` of `grant_table.h`, 0 is okay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrantStatus(pub i16);

/// One segment of a batched copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyOp {
    /// Which way.
    pub direction: Direction,
    /// Whose grant.
    pub domid: DomId,
    /// Which grant.
    pub gref: GrantRef,
    /// First byte within the granted page. `offset + len` stays within one page.
    pub offset: u16,
    /// Bytes to copy.
    pub len: u16,
    /// First byte within the arena.
    pub local: usize,
    /// Written by [`Grants::copy`].
    pub status: GrantStatus,
}

/// Pages of a guest, mapped until dropped.
pub trait Mapped {
    /// The mapped bytes, contiguous in the order of the grant references. The guest may write to
    /// them at any time; every access is volatile or atomic.
    fn slice(&self) -> VolatileSlice<'_>;
}

/// Grant operations on the guests of a host.
///
/// *Copy.* One call is one batch: on Linux one `IOCTL_GNTDEV_GRANT_COPY`. Each operation gets its
/// own status and a failed one does not stop the others. `GNTST_eagain` is retried by the
/// implementation, with a bound, before it is reported. An operation whose `local` range leaves the arena, or
/// whose page range leaves the page, gets `GNTST_bad_copy_arg` and touches nothing.
/// *Map.* All pages or none.
pub trait Grants {
    /// Copies every segment between `arena` and the guests, in any order.
    fn copy(&mut self, arena: VolatileSlice<'_>, ops: &mut [CopyOp]);

    /// Maps grants of one guest, contiguously.
    fn map(
        &mut self,
        domid: DomId,
        grefs: &[GrantRef],
        access: Access,
    ) -> Result<Box<dyn Mapped>, MapError>;

    /// System calls made so far.
    fn system_calls(&self) -> u64;
}

/// Mapping failed.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The hypervisor refused one of the references.
    #[error("map of grant {gref} of domain {domid} refused with status {}", status.0)]
    Refused {
        /// Whose grant.
        domid: DomId,
        /// Which one.
        gref: GrantRef,
        /// The verdict.
        status: GrantStatus,
    },
    /// The operating system failed.
    #[error("map of {count} grants of domain {domid}")]
    Os {
        /// Whose grants.
        domid: DomId,
        /// How many.
        count: usize,
        /// Why.
        source: std::io::Error,
    },
}
