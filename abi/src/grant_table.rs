//! Grant table entries, verdicts and the copy operation: `grant_table.h`, and for the copy
//! operation as Linux takes it from user space, `sys/gntdev.h`.

use crate::bytes::{get_u16, get_u32, put};
use crate::{DomId, GrantRef, PAGE_SIZE};

/// The entry that the toolstack fills for the console.
pub const RESERVED_CONSOLE: GrantRef = GrantRef(0);
/// The entry that the toolstack fills for xenstore.
pub const RESERVED_XENSTORE: GrantRef = GrantRef(1);
/// Entries that a guest's own allocator leaves alone (GNTTAB_NR_RESERVED_ENTRIES).
pub const NR_RESERVED_ENTRIES: u32 = 8;

/// Bytes of a version 1 entry.
pub const ENTRY_SIZE: usize = 8;
/// Version 1 entries of one page of the table.
pub const ENTRIES_PER_PAGE: usize = PAGE_SIZE / ENTRY_SIZE;
/// Pages of a domain's table unless the host says otherwise (`gnttab_max_frames`).
pub const DEFAULT_MAX_FRAMES: usize = 64;

/// Offset of an entry's `flags`.
pub const ENTRY_FLAGS: usize = 0;
/// Offset of an entry's `domid`.
pub const ENTRY_DOMID: usize = 2;
/// Offset of an entry's `frame`.
pub const ENTRY_FRAME: usize = 4;

/// Flags of an entry (`GTF_*`).
pub mod gtf {
    /// Type: unused.
    pub const INVALID: u16 = 0;
    /// Type: `domid` may map or copy `frame`.
    pub const PERMIT_ACCESS: u16 = 1;
    /// Type: `domid` may give a page away into this entry.
    pub const ACCEPT_TRANSFER: u16 = 2;
    /// Type: another domain's grant, passed on (version 2 only).
    pub const TRANSITIVE: u16 = 3;
    /// The bits that hold the type.
    pub const TYPE_MASK: u16 = 3;
    /// Owner's: no writes.
    pub const READONLY: u16 = 1 << 2;
    /// Hypervisor's: in use for reading.
    pub const READING: u16 = 1 << 3;
    /// Hypervisor's: in use for writing.
    pub const WRITING: u16 = 1 << 4;
    /// Owner's: only a part of the page (version 2 only).
    pub const SUB_PAGE: u16 = 1 << 8;
}

/// `struct grant_entry_v1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryV1 {
    /// [`gtf`] bits.
    pub flags: u16,
    /// To whom.
    pub domid: DomId,
    /// Which of the granter's pages.
    pub frame: u32,
}

impl EntryV1 {
    /// Reads an entry.
    pub fn decode(bytes: &[u8; ENTRY_SIZE]) -> Self {
        Self {
            flags: get_u16(bytes, ENTRY_FLAGS),
            domid: DomId(get_u16(bytes, ENTRY_DOMID)),
            frame: get_u32(bytes, ENTRY_FRAME),
        }
    }

    /// The entry's bytes.
    pub fn encode(&self) -> [u8; ENTRY_SIZE] {
        let mut bytes = [0; ENTRY_SIZE];
        put(&mut bytes, ENTRY_FLAGS, self.flags.to_le_bytes());
        put(&mut bytes, ENTRY_DOMID, self.domid.0.to_le_bytes());
        put(&mut bytes, ENTRY_FRAME, self.frame.to_le_bytes());
        bytes
    }
}

/// Hypercall operations of `HYPERVISOR_grant_table_op`.
pub mod op {
    /// Tells how large a domain's table is.
    pub const QUERY_SIZE: u32 = 6;
}

/// Verdicts of a grant operation (`GNTST_*`).
pub mod gntst {
    /// Done.
    pub const OKAY: i16 = 0;
    /// No closer reason.
    pub const GENERAL_ERROR: i16 = -1;
    /// No such domain.
    pub const BAD_DOMAIN: i16 = -2;
    /// No such grant, or not for this domain.
    pub const BAD_GNTREF: i16 = -3;
    /// No such mapping.
    pub const BAD_HANDLE: i16 = -4;
    /// Nothing can be mapped there.
    pub const BAD_VIRT_ADDR: i16 = -5;
    /// Nothing is mapped there.
    pub const BAD_DEV_ADDR: i16 = -6;
    /// The I/O memory unit is full.
    pub const NO_DEVICE_SPACE: i16 = -7;
    /// Not allowed.
    pub const PERMISSION_DENIED: i16 = -8;
    /// The page cannot be used so.
    pub const BAD_PAGE: i16 = -9;
    /// The copy leaves its page.
    pub const BAD_COPY_ARG: i16 = -10;
    /// The page lies too high.
    pub const ADDRESS_TOO_BIG: i16 = -11;
    /// The page is paged out: try again.
    pub const EAGAIN: i16 = -12;
    /// Out of handles.
    pub const NO_SPACE: i16 = -13;
}

/// `IOCTL_GNTDEV_GRANT_COPY`'s array of segments.
pub mod gntdev_copy {
    /// The source is a grant of another domain, else an address (GNTCOPY_source_gref).
    pub const SOURCE_GREF: u16 = 1;
    /// The destination is a grant of another domain, else an address (GNTCOPY_dest_gref).
    pub const DEST_GREF: u16 = 2;
    /// Bytes of one segment.
    pub const SEGMENT_SIZE: usize = 24;
    /// Offset of `source`: a pointer, or [`FOREIGN_REF`] and what follows.
    pub const SOURCE: usize = 0;
    /// Offset of `dest`, likewise.
    pub const DEST: usize = 8;
    /// Offset of `len`, 16 bits.
    pub const LEN: usize = 16;
    /// Offset of `flags`, 16 bits.
    pub const FLAGS: usize = 18;
    /// Offset of `status`, signed 16 bits.
    pub const STATUS: usize = 20;
    /// Within a foreign end: offset of the grant reference, 32 bits.
    pub const FOREIGN_REF: usize = 0;
    /// Within a foreign end: offset of the byte offset in the page, 16 bits.
    pub const FOREIGN_OFFSET: usize = 4;
    /// Within a foreign end: offset of the domain, 16 bits.
    pub const FOREIGN_DOMID: usize = 6;
}
