//! Which foreign format an image looks like.
//!
//! Pure: bytes in, an opinion out. It reads no file and does not know what follows from the answer.
//! Invariant: any bytes, of any length, get an answer.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use std::fmt;

/// A disk image format that is not raw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// Virtual Hard Disk of Virtual PC: fixed (footer alone), dynamic or differencing.
    Vhd,
    /// Virtual Hard Disk v2 of Hyper-V.
    Vhdx,
    /// VMware: hosted sparse extent, ESX sparse extent, or a text descriptor.
    Vmdk,
    /// QEMU copy-on-write, version 1 to 3.
    Qcow2,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vhd => "a VHD image",
            Self::Vhdx => "a VHDX image",
            Self::Vmdk => "a VMDK image",
            Self::Qcow2 => "a qcow2 image",
        })
    }
}

/// What the formats put first in a file.
const HEADS: [(&[u8], Foreign); 6] = [
    (b"conectix", Foreign::Vhd),
    (b"vhdxfile", Foreign::Vhdx),
    (b"KDMV", Foreign::Vmdk),
    (b"COWD", Foreign::Vmdk),
    (b"# Disk DescriptorFile", Foreign::Vmdk),
    (b"QFI\xfb", Foreign::Qcow2),
];

/// How far before the end a VHD footer starts: 512 bytes, or 511 as Virtual PC wrote it before
/// 2004.
const FOOTERS_BYTES: [usize; 2] = [512, 511];

/// Judges an image by its first bytes and its last ones; `tail` ends where the image ends.
pub fn foreign(head: &[u8], tail: &[u8]) -> Option<Foreign> {
    let first = HEADS
        .iter()
        .find(|(magic, _)| head.starts_with(magic))
        .map(|(_, format)| *format);
    first.or_else(|| {
        FOOTERS_BYTES
            .iter()
            .any(|&size| is_footer(tail, size))
            .then_some(Foreign::Vhd)
    })
}

fn is_footer(tail: &[u8], size_bytes: usize) -> bool {
    let start = tail.len().checked_sub(size_bytes);
    start
        .and_then(|at| tail.get(at..))
        .is_some_and(|footer| footer.starts_with(b"conectix"))
}
