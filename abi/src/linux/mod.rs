//! What Linux's Xen drivers take from user space: `include/uapi/xen/*.h`, numbers and layouts.
//!
//! These headers are Linux's own, unlike the rest of this crate; no system call is made here
//! either. Layouts are those of a 64-bit little-endian machine: Xen has no others on Linux today.
//! Invariant: every structure is as large as its request number says (`tests/pin_linux.rs`).

pub mod evtchn;
pub mod gntalloc;
pub mod gntdev;
pub mod privcmd;

/// Directory of the devices.
pub const DEVICES: &str = "/dev/xen";

/// `_IOC(_IOC_NONE, kind, number, size)` of `asm-generic/ioctl.h`. The Xen drivers say "none" for the
/// direction, although the kernel both reads and writes most of these structures.
const fn ioc(kind: u8, number: u8, size_bytes: u16) -> u32 {
    (size_bytes as u32) << 16 | (kind as u32) << 8 | number as u32
}
