//! Xen's public ABI in Rust: numbers, wire layouts and the newtypes that keep them apart.
//!
//! Module paths mirror the public headers: `xen/include/public/io/blkif.h` is [`io::blkif`].
//! What Linux adds for its own user space is [`linux`].
//! This crate maps no memory and makes no system call.
//! Invariant: whatever bytes it is given, it never panics.

#![forbid(unsafe_code)]

use std::fmt;

mod bytes;
pub mod event_channel;
pub mod grant_table;
pub mod io;
pub mod linux;

/// Bytes in a page of the Xen ABI. Rings, grants and event arrays use 4 KiB pages on every
/// architecture, whatever page size the kernel runs with (`io/ring.h`, XEN_PAGE_SIZE).
pub const PAGE_SIZE: usize = 4096;

/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;

/// Bytes in a sector. Everything blkif puts on the wire counts in 512-byte units, whatever the
/// logical sector size of the disk is (`io/blkif.h`, `sectors`).
pub const SECTOR_SIZE: usize = 512;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A domain: `domid_t` of `xen.h`. 0 is the control domain.
    DomId(u16)
}
number! {
    /// An index into a domain's grant table: `grant_ref_t` of `grant_table.h`.
    GrantRef(u32)
}
number! {
    /// A local event channel port: `evtchn_port_t` of `event_channel.h`. 0 is never valid.
    Port(u32)
}
number! {
    /// A guest frame number, in units of [`PAGE_SIZE`].
    Gfn(u64)
}
number! {
    /// A position or a length on a disk, in units of [`SECTOR_SIZE`].
    Sector(u64)
}

impl DomId {
    /// The control domain, where the backends of most hosts live.
    pub const DOM0: Self = Self(0);
    /// First of the reserved identifiers: no domain has this number or a higher one
    /// (`DOMID_FIRST_RESERVED` of `xen.h`).
    pub const FIRST_RESERVED: Self = Self(0x7FF0);
}
