//! From an open file to something a disk engine can serve, or one line that says why not.
//!
//! Whoever opens images (path to descriptor is not done here) opens them with [`OPEN_FLAGS`],
//! calls [`prepare`], takes the lock ([`crate::lock`]) and hands the descriptor on, keeping no copy.
//! Invariant: what is returned is O_DIRECT, or lives in memory alone and says so.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use abi::Sector;

use crate::probe::{self, Facts, Kind, LEASE_ALIGN_BYTES};
use crate::signature::Foreign;
use crate::spec::{Format, ImageSpec};
use crate::{Geometry, sys};

/// Flags to open an image with, beside the access mode and O_CLOEXEC: opening a fifo must not
/// wait for its other end, and a terminal must not become ours. O_DIRECT is set by [`prepare`],
/// because `open` would refuse it with a bare EINVAL. Neither O_CREAT nor O_TRUNC, ever.
pub const OPEN_FLAGS: i32 = libc::O_NONBLOCK | libc::O_NOCTTY;

/// An image that can be served.
#[derive(Debug)]
pub struct Prepared {
    /// The open image: O_DIRECT unless `cached`, and not O_NONBLOCK.
    pub fd: OwnedFd,
    /// What its disk says of itself.
    pub geometry: Geometry,
    /// What the operator should hear, one line each.
    pub warnings: Vec<Warning>,
    /// The bytes live in memory: the reactor's inline path serves it.
    pub cached: bool,
}

/// Something odd about an image that is served all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// `raw:` was said of a file that has a foreign signature.
    #[error("image looks like {0}, but raw: was said: the guest sees its bytes as they are")]
    LooksLike(Foreign),
    /// A block device whose sectors are larger than 512 bytes.
    #[error(
        "block device has {0}-byte sectors, and so has the guest's disk: FreeBSD and Windows \
         cannot use those, nor can any guest what was made for 512-byte ones"
    )]
    LargeSectors(u32),
}

/// Why an image is not served.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Neither a regular file nor a block device.
    #[error("image is a {0}, not a regular file or a block device")]
    NotADisk(&'static str),
    /// No bytes.
    #[error("image is empty (0 bytes)")]
    Empty,
    /// Not a whole number of sectors.
    #[error("image is {size_bytes} bytes long, not a multiple of {sector_size_bytes}")]
    OddSize {
        /// Its length.
        size_bytes: u64,
        /// What that should be a multiple of.
        sector_size_bytes: u32,
    },
    /// Looks like a format, and no format was named.
    #[error("image looks like {0}; raw:PATH would serve its bytes as they are")]
    Foreign(Foreign),
    /// Writes were asked for and cannot be had.
    #[error("image cannot be written: {0}")]
    ReadOnly(&'static str),
    /// No O_DIRECT.
    #[error("file system of the image refuses O_DIRECT")]
    NoDirect,
    /// Sector or memory alignment that no lease has.
    #[error("image needs {0}-byte alignment, more than the {LEASE_ALIGN_BYTES} supported")]
    Alignment(u32),
    /// The system refused something.
    #[error("{doing}: {error}")]
    Os {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

/// Judges an open image and makes it ready. It does not lock.
pub fn prepare(fd: OwnedFd, spec: &ImageSpec, read_only: bool) -> Result<Prepared, Refusal> {
    let file = File::from(fd);
    let facts = facts(&file)?;
    let flags = sys::flags(&file).map_err(os("reading the flags of the image"))?;
    writable(&facts, flags, read_only)?;
    if facts.size_bytes == 0 {
        return Err(Refusal::Empty);
    }
    direct(&file, &facts, flags)?;
    let looks_like = probe::looks_like(&file, facts.size_bytes).map_err(os("reading the image"))?;
    let warnings = warnings(spec.format, looks_like, &facts)?;
    let geometry = geometry(&facts, read_only)?;
    Ok(Prepared {
        fd: file.into(),
        geometry,
        warnings,
        cached: facts.memory_backed,
    })
}

fn facts(file: &File) -> Result<Facts, Refusal> {
    match probe::kind(file).map_err(os("looking at the image"))? {
        Kind::File => probe::regular(file).map_err(os("looking at the image")),
        Kind::Device => probe::device(file).map_err(os("asking the block device for its size")),
        Kind::Other(name) => Err(Refusal::NotADisk(name)),
    }
}

fn writable(facts: &Facts, flags: i32, read_only: bool) -> Result<(), Refusal> {
    if read_only {
        Ok(())
    } else if flags & libc::O_ACCMODE != libc::O_RDWR {
        Err(Refusal::ReadOnly("it was opened for reading only"))
    } else if facts.read_only {
        Err(Refusal::ReadOnly("the block device is read-only"))
    } else {
        Ok(())
    }
}

/// Switches O_DIRECT on, except in memory, where it is switched off. O_NONBLOCK has done its duty.
fn direct(file: &File, facts: &Facts, flags: i32) -> Result<(), Refusal> {
    let flags = flags & !(libc::O_NONBLOCK | libc::O_DIRECT);
    if facts.memory_backed {
        return sys::set_flags(file, flags).map_err(os("setting the flags of the image"));
    }
    if facts.direct_refused {
        return Err(Refusal::NoDirect);
    }
    sys::set_flags(file, flags | libc::O_DIRECT).map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL) => Refusal::NoDirect,
        _ => Refusal::Os {
            doing: "setting O_DIRECT on the image",
            error,
        },
    })
}

fn warnings(
    format: Format,
    looks_like: Option<Foreign>,
    facts: &Facts,
) -> Result<Vec<Warning>, Refusal> {
    let large = facts.sector_size_bytes > 512 && facts.kind == Kind::Device;
    let large = large.then_some(Warning::LargeSectors(facts.sector_size_bytes));
    match (format, looks_like) {
        (Format::Unnamed, Some(foreign)) => Err(Refusal::Foreign(foreign)),
        (_, foreign) => Ok(foreign
            .map(Warning::LooksLike)
            .into_iter()
            .chain(large)
            .collect()),
    }
}

fn geometry(facts: &Facts, read_only: bool) -> Result<Geometry, Refusal> {
    let align = facts.sector_size_bytes.max(facts.memory_align_bytes);
    if align > LEASE_ALIGN_BYTES || !facts.sector_size_bytes.is_power_of_two() {
        return Err(Refusal::Alignment(align));
    }
    let (size_bytes, sector_size_bytes) = (facts.size_bytes, facts.sector_size_bytes);
    if !size_bytes.is_multiple_of(u64::from(sector_size_bytes)) {
        return Err(Refusal::OddSize {
            size_bytes,
            sector_size_bytes,
        });
    }
    Ok(Geometry {
        sectors: Sector(size_bytes / abi::SECTOR_SIZE as u64),
        sector_size_bytes,
        physical_sector_size_bytes: facts.physical_sector_size_bytes,
        read_only,
        flush: true,
        is_file: facts.kind == Kind::File,
    })
}

fn os(doing: &'static str) -> impl FnOnce(io::Error) -> Refusal {
    move |error| Refusal::Os { doing, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is known of something with sectors of 4096 bytes.
    fn large(kind: Kind) -> Facts {
        Facts {
            kind,
            size_bytes: 1 << 20,
            sector_size_bytes: 4096,
            physical_sector_size_bytes: 4096,
            memory_align_bytes: 512,
            read_only: false,
            memory_backed: false,
            direct_refused: false,
        }
    }

    #[test]
    fn a_block_device_of_large_sectors_is_served_with_a_warning() {
        let facts = large(Kind::Device);
        let told = warnings(Format::Raw, None, &facts).unwrap();
        assert_eq!(told, [Warning::LargeSectors(4096)]);
        assert!(!geometry(&facts, false).unwrap().is_file);
    }

    /// Whoever serves it decides whether its guest may have it, and says so in one line.
    #[test]
    fn a_file_of_large_sectors_is_marked_as_a_file() {
        let facts = large(Kind::File);
        assert_eq!(warnings(Format::Raw, None, &facts).unwrap(), []);
        assert!(geometry(&facts, false).unwrap().is_file);
    }
}
