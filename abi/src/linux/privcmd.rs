//! `/dev/xen/privcmd` and `/dev/xen/hypercall`: `xen/privcmd.h`.

use super::ioc;

/// The device that makes hypercalls and maps foreign memory.
pub const PATH: &str = "/dev/xen/privcmd";
/// The device that gives memory which the hypervisor can reach at any time.
pub const BUFFER_PATH: &str = "/dev/xen/hypercall";

/// `IOCTL_PRIVCMD_HYPERCALL`: [`Hypercall`]. Returns what the hypercall returned.
pub const HYPERCALL: u32 = ioc(b'P', 0, 48);
/// `IOCTL_PRIVCMD_MMAPBATCH_V2`: [`MmapBatchV2`].
pub const MMAPBATCH_V2: u32 = ioc(b'P', 4, 32);
/// `IOCTL_PRIVCMD_DM_OP`: [`DmOp`].
pub const DM_OP: u32 = ioc(b'P', 5, 16);
/// `IOCTL_PRIVCMD_RESTRICT`: a `domid_t`. For good.
pub const RESTRICT: u32 = ioc(b'P', 6, 2);
/// `IOCTL_PRIVCMD_MMAP_RESOURCE`: [`MmapResource`].
pub const MMAP_RESOURCE: u32 = ioc(b'P', 7, 32);

/// `struct privcmd_hypercall`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Hypercall {
    /// Its number (`__HYPERVISOR_*` of `xen.h`).
    pub op: u64,
    /// Its arguments.
    pub arg: [u64; 5],
}

/// `struct privcmd_mmapbatch_v2`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct MmapBatchV2 {
    /// Pages.
    pub num: u32,
    /// Whose.
    pub dom: u16,
    /// Nothing.
    pub pad: u16,
    /// Address to map them at, inside a mapping of the device.
    pub addr: u64,
    /// Address of `num` frame numbers, 64 bits each.
    pub arr: u64,
    /// Address of `num` error codes, 32 bits each, written by the kernel.
    pub err: u64,
}

/// `struct privcmd_dm_op`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct DmOp {
    /// Whose device model.
    pub dom: u16,
    /// Buffers.
    pub num: u16,
    /// Nothing.
    pub pad: u32,
    /// Address of `num` of [`DmOpBuf`].
    pub ubufs: u64,
}

/// `struct privcmd_dm_op_buf`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct DmOpBuf {
    /// Address of the buffer.
    pub uptr: u64,
    /// Its bytes.
    pub size: u64,
}

/// `struct privcmd_mmap_resource`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct MmapResource {
    /// Whose.
    pub dom: u16,
    /// Nothing.
    pub pad: u16,
    /// What sort (`XENMEM_resource_*` of `memory.h`).
    pub kind: u32,
    /// Which of them.
    pub id: u32,
    /// First frame of it.
    pub idx: u32,
    /// Frames.
    pub num: u64,
    /// Address to map them at, inside a mapping of the device.
    pub addr: u64,
}
