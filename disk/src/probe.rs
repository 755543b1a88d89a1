//! What an open file is, as far as a disk cares: kind, size, alignment, foreign signatures.
//!
//! It is given the file open, knows no path, and decides nothing: [`crate::prepare()`] does.
//! Invariant: nothing is written to the file, and nothing of it stays in the page cache where
//! O_DIRECT is at work.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};

use crate::signature::{self, Foreign};
use crate::sys::{self, DirectAlign, FileSystem};

/// What kind of file an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A block device.
    Device,
    /// Something with no sectors, by name.
    Other(&'static str),
}

/// The facts about an open image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// [`Kind::File`] or [`Kind::Device`].
    pub kind: Kind,
    /// Length, or capacity of a device.
    pub size_bytes: u64,
    /// The alignment that every operation needs, from 512.
    pub sector_size_bytes: u32,
    /// The size below which a write makes the storage read first.
    pub physical_sector_size_bytes: u32,
    /// The alignment of memory that O_DIRECT needs.
    pub memory_align_bytes: u32,
    /// A device that refuses writes.
    pub read_only: bool,
    /// On tmpfs or ramfs: nothing to bypass.
    pub memory_backed: bool,
    /// A regular file that says it cannot do O_DIRECT.
    pub direct_refused: bool,
}

/// Bytes in a page, as far as alignment of memory goes: what reactor leases are aligned to.
pub const LEASE_ALIGN_BYTES: u32 = 4096;

/// What kind of file this is.
pub fn kind(file: &File) -> io::Result<Kind> {
    let kind = file.metadata()?.file_type();
    let named = [
        (kind.is_file(), Kind::File),
        (kind.is_block_device(), Kind::Device),
        (kind.is_dir(), Kind::Other("directory")),
        (kind.is_fifo(), Kind::Other("fifo")),
        (kind.is_socket(), Kind::Other("socket")),
        (kind.is_char_device(), Kind::Other("character device")),
    ];
    let found = named.into_iter().find(|(is, _)| *is);
    Ok(found.map_or(Kind::Other("special file"), |(_, kind)| kind))
}

/// Reads the facts about a block device.
pub fn device(file: &File) -> io::Result<Facts> {
    let device = sys::device(file)?;
    Ok(Facts {
        kind: Kind::Device,
        size_bytes: device.size_bytes,
        sector_size_bytes: device.sector_size_bytes,
        physical_sector_size_bytes: device.physical_sector_size_bytes,
        memory_align_bytes: device.sector_size_bytes.min(LEASE_ALIGN_BYTES),
        read_only: device.read_only,
        memory_backed: false,
        direct_refused: false,
    })
}

/// Reads the facts about a regular file.
pub fn regular(file: &File) -> io::Result<Facts> {
    let metadata = file.metadata()?;
    let file_system = sys::file_system(file)?;
    let memory_backed = file_system == FileSystem::Memory;
    let align = if memory_backed {
        None
    } else {
        sys::direct_align(file)?
    };
    let sector_size_bytes = sector_size_bytes(file_system, align);
    let asked = align.map_or(512, |align| align.offset.min(LEASE_ALIGN_BYTES));
    let block = u32::try_from(metadata.blksize())
        .unwrap_or(512)
        .min(LEASE_ALIGN_BYTES);
    Ok(Facts {
        kind: Kind::File,
        size_bytes: metadata.size(),
        sector_size_bytes,
        physical_sector_size_bytes: block.max(asked).max(sector_size_bytes),
        memory_align_bytes: align.map_or(512, |align| align.memory),
        read_only: false,
        memory_backed,
        direct_refused: align.is_some_and(|align| align.offset == 0),
    })
}

/// The smallest sectors that the file takes: a guest expects those its image was made with, 512
/// bytes almost always, and larger ones leave it without its partitions.
///
/// statx tells what is fast, which can be more. XFS asks for whole blocks of a file that shares
/// them with another (`cp --reflink`), and btrfs would for all; both do what is smaller through the
/// page cache. A device of 4096-byte sectors takes nothing smaller, and answers EINVAL. Where
/// nobody tells, 512 bytes are assumed.
fn sector_size_bytes(file_system: FileSystem, align: Option<DirectAlign>) -> u32 {
    let asked = match (file_system, align) {
        (FileSystem::Btrfs, _) => 512,
        (FileSystem::Xfs, Some(align)) => align.read_offset.unwrap_or(align.offset),
        (_, align) => align.map_or(512, |align| align.offset),
    };
    asked.max(512)
}

/// Two pages where O_DIRECT may read to: the last 512 bytes of an odd-sized file can lie in two.
#[repr(align(4096))]
struct Buffer([u8; 2 * PAGE]);

const PAGE: usize = 4096;

/// What the file looks like, by its first bytes and its last.
pub fn looks_like(file: &File, size_bytes: u64) -> io::Result<Option<Foreign>> {
    let mut head = Box::new(Buffer([0; 2 * PAGE]));
    let mut tail = Box::new(Buffer([0; 2 * PAGE]));
    let head_len = read_upto(file, &mut head.0[..PAGE], 0)?;
    let tail_at = size_bytes.saturating_sub(512) / PAGE as u64 * PAGE as u64;
    let tail_len = read_upto(file, &mut tail.0, tail_at)?;
    Ok(signature::foreign(&head.0[..head_len], &tail.0[..tail_len]))
}

/// One read: O_DIRECT could not go on from the middle of a sector, and the end of the file is
/// the only reason why a read this small is short.
fn read_upto(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    match file.read_at(buffer, offset) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => file.read_at(buffer, offset),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn align(offset: u32, read_offset: Option<u32>) -> Option<DirectAlign> {
        Some(DirectAlign {
            memory: 512,
            offset,
            read_offset,
        })
    }

    #[test]
    fn a_file_that_shares_blocks_on_xfs_keeps_the_sectors_of_its_device() {
        assert_eq!(
            sector_size_bytes(FileSystem::Xfs, align(4096, Some(512))),
            512
        );
        assert_eq!(
            sector_size_bytes(FileSystem::Xfs, align(4096, Some(4096))),
            4096
        );
        assert_eq!(sector_size_bytes(FileSystem::Xfs, align(512, None)), 512);
    }

    #[test]
    fn a_file_on_a_device_of_large_sectors_has_large_sectors() {
        assert_eq!(
            sector_size_bytes(FileSystem::Other, align(4096, None)),
            4096
        );
        assert_eq!(
            sector_size_bytes(FileSystem::Other, align(4096, Some(512))),
            4096
        );
    }

    #[test]
    fn sectors_are_never_smaller_than_what_blkif_counts_in() {
        assert_eq!(sector_size_bytes(FileSystem::Other, align(1, None)), 512);
        assert_eq!(sector_size_bytes(FileSystem::Other, None), 512);
        assert_eq!(sector_size_bytes(FileSystem::Btrfs, align(4096, None)), 512);
    }
}
