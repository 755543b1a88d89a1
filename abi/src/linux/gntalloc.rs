//! `/dev/xen/gntalloc`: `xen/gntalloc.h`, for one page at a time.

use super::ioc;

/// The device.
pub const PATH: &str = "/dev/xen/gntalloc";

/// `IOCTL_GNTALLOC_ALLOC_GREF`: [`AllocGref`].
pub const ALLOC_GREF: u32 = ioc(b'G', 5, 24);
/// `IOCTL_GNTALLOC_DEALLOC_GREF`: [`DeallocGref`].
pub const DEALLOC_GREF: u32 = ioc(b'G', 6, 16);

/// Flag of [`AllocGref`]: the other domain may write (GNTALLOC_FLAG_WRITABLE).
pub const FLAG_WRITABLE: u16 = 1;

/// `struct ioctl_gntalloc_alloc_gref` for one page.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct AllocGref {
    /// Who may use it.
    pub domid: u16,
    /// How.
    pub flags: u16,
    /// Pages: 1.
    pub count: u32,
    /// Written by the kernel: the file offset to map.
    pub index: u64,
    /// Written by the kernel: the grant reference.
    pub gref: u32,
    /// Nothing.
    pub pad: u32,
}

/// `struct ioctl_gntalloc_dealloc_gref`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct DeallocGref {
    /// What the kernel wrote to [`AllocGref::index`].
    pub index: u64,
    /// Pages.
    pub count: u32,
    /// Nothing.
    pub pad: u32,
}
