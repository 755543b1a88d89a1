//! `/dev/xen/gntdev`: `xen/gntdev.h`. The segments of a copy are
//! [`crate::grant_table::gntdev_copy`].

use super::ioc;

/// The device.
pub const PATH: &str = "/dev/xen/gntdev";

/// `IOCTL_GNTDEV_MAP_GRANT_REF`: [`MapHead`], followed by a [`MapRef`] for each grant. The number
/// says the size with one of them, whatever their count.
pub const MAP_GRANT_REF: u32 = ioc(b'G', 0, 24);
/// `IOCTL_GNTDEV_UNMAP_GRANT_REF`: [`Unmap`]. The pages must not be mapped any more.
pub const UNMAP_GRANT_REF: u32 = ioc(b'G', 1, 16);
/// `IOCTL_GNTDEV_GRANT_COPY`: [`GrantCopy`].
pub const GRANT_COPY: u32 = ioc(b'G', 8, 16);

/// The start of `struct ioctl_gntdev_map_grant_ref`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct MapHead {
    /// How many grants follow.
    pub count: u32,
    /// Nothing.
    pub pad: u32,
    /// Written by the kernel: the file offset to map.
    pub index: u64,
}

/// `struct ioctl_gntdev_grant_ref`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct MapRef {
    /// Whose grant.
    pub domid: u32,
    /// Which one.
    pub gref: u32,
}

/// `struct ioctl_gntdev_unmap_grant_ref`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Unmap {
    /// What the kernel wrote to [`MapHead::index`].
    pub index: u64,
    /// Pages, all of the mapping.
    pub count: u32,
    /// Nothing.
    pub pad: u32,
}

/// `struct ioctl_gntdev_grant_copy`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct GrantCopy {
    /// Segments.
    pub count: u32,
    /// Nothing.
    pub pad: u32,
    /// Address of the first segment.
    pub segments: u64,
}

/// `struct gntdev_grant_copy_segment`; an end is an address, or a foreign end made by [`foreign`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Segment {
    /// Where from.
    pub source: u64,
    /// Where to.
    pub dest: u64,
    /// Bytes.
    pub len: u16,
    /// Which ends are foreign.
    pub flags: u16,
    /// Written by the kernel: `GNTST_*`.
    pub status: i16,
    /// Nothing.
    pub pad: u16,
}

/// A foreign end of a segment: a grant, a byte of its page, and whose.
#[must_use]
pub const fn foreign(gref: u32, offset: u16, domid: u16) -> u64 {
    gref as u64 | (offset as u64) << 32 | (domid as u64) << 48
}
