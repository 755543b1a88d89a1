//! `halcyon-bench grants direct`: whether io_uring reads and writes a disk straight from and to mapped
//! grants, past the page cache, with plain and with registered buffers. Every byte is compared, by ways
//! that do not touch the mapping: the guest's side through grant copies, the disk's through the page cache.
//!
//! It knows nothing of how fast that is.
//!
//! Invariant: a mapping lives until the kernel has given back everything that names it.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use abi::{DomId, GrantRef, PAGE_SIZE};
use clap::Args;
use halcyon::error::{Doing as _, Exit, Failure};
use vm_memory::VolatileSlice;
use xen::linux::Gntdev;
use xen::{Direction, Grants, Mapped};

use self::ring::{Buffers, Ring, Way};
use super::{Lent, sizes, ways};

mod ring;

/// `halcyon-bench grants direct`
#[derive(Clone, Debug, Args)]
pub(super) struct DirectArgs {
    #[command(flatten)]
    lent: Lent,
    /// Files and block devices, opened past the page cache. Their first 128 KiB are overwritten.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

/// How a trial ended.
enum Verdict {
    Works,
    WrongData,
    Short(usize),
    Failed(io::Error),
    NotRegistered(io::Error),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Works => f.write_str("yes"),
            Self::WrongData => f.write_str("WRONG DATA"),
            Self::Short(bytes) => write!(f, "no: {bytes} bytes only"),
            Self::Failed(error) => write!(f, "no: {error}"),
            Self::NotRegistered(error) => write!(f, "no: registering: {error}"),
        }
    }
}

/// Prints a line for each trial. Fails where data was wrong: an error is an answer.
pub(super) fn run(args: &DirectArgs) -> Result<(), Failure> {
    let mut grants = Gntdev::open().doing(|| "try io_uring on grants".to_owned())?;
    let all = args.lent.grefs();
    let mut wrong = false;
    for path in &args.paths {
        for grefs in sizes(&all) {
            for (way, buffers) in [
                (Way::Read, Buffers::Plain),
                (Way::Write, Buffers::Plain),
                (Way::Read, Buffers::Registered),
                (Way::Write, Buffers::Registered),
            ] {
                let trial = Trial {
                    domid: args.lent.domid(),
                    grefs,
                    path,
                    way,
                    buffers,
                };
                let verdict = trial.run(&mut grants)?;
                wrong |= matches!(verdict, Verdict::WrongData);
                println!("{trial} {verdict}");
            }
        }
    }
    if wrong {
        return Err(Failure::new(Exit::Unverified, "data was wrong"));
    }
    Ok(())
}

/// Starts a read of the first disk and ends with it under way.
pub(super) fn abandon(args: &DirectArgs) -> Result<(), Failure> {
    let doing = || "abandon a read".to_owned();
    let mut grants = Gntdev::open().doing(doing)?;
    let mapped = ways::map(&mut grants, args.lent.domid(), &args.lent.grefs())?;
    let mut ring = Ring::new(direct(&args.paths[0]).doing(doing)?, mapped).doing(doing)?;
    ring.start(Way::Read, Buffers::Plain).doing(doing)?;
    println!("abandoned");
    // Nothing is dropped: this is how a process ends that is killed.
    std::process::exit(0)
}

/// A disk past the page cache.
fn direct(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true);
    options.custom_flags(libc::O_DIRECT).open(path)
}

/// One request between a disk and mapped grants.
struct Trial<'a> {
    domid: DomId,
    grefs: &'a [GrantRef],
    path: &'a Path,
    way: Way,
    buffers: Buffers,
}

impl fmt::Display for Trial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "direct {} {} KiB",
            self.path.display(),
            self.bytes() / 1024
        )?;
        write!(f, " {:?} {:?}:", self.way, self.buffers)
    }
}

impl Trial<'_> {
    fn bytes(&self) -> usize {
        self.grefs.len() * PAGE_SIZE
    }

    fn run(&self, grants: &mut dyn Grants) -> Result<Verdict, Failure> {
        let doing = || format!("try {}", self.path.display());
        // No two trials move the same bytes, so none passes with what another left.
        let pages = u32::try_from(self.grefs.len()).unwrap_or(u32::MAX);
        let salt = pages << 2 | (self.way as u32) << 1 | self.buffers as u32;
        let (sent, before) = (pattern(salt, self.bytes()), pattern(!salt, self.bytes()));
        let (on_disk, in_guest) = match self.way {
            Way::Read => (&sent, &before),
            Way::Write => (&before, &sent),
        };
        self.disk()
            .and_then(|disk| put(&disk, on_disk))
            .doing(doing)?;
        self.copy(grants, Direction::ToGuest, &mut in_guest.clone())?;
        let mapped = ways::map(grants, self.domid, self.grefs)?;
        if let Some(verdict) = self.transfer(mapped).doing(doing)? {
            return Ok(verdict);
        }
        let mut got = vec![0; self.bytes()];
        match self.way {
            Way::Read => self.copy(grants, Direction::FromGuest, &mut got)?,
            Way::Write => self
                .disk()
                .and_then(|disk| disk.read_exact_at(&mut got, 0))
                .doing(doing)?,
        }
        Ok(if got == sent {
            Verdict::Works
        } else {
            Verdict::WrongData
        })
    }

    /// Lets the kernel do the request; none of its errors is ours.
    fn transfer(&self, mapped: Box<dyn Mapped>) -> io::Result<Option<Verdict>> {
        let mut ring = Ring::new(direct(self.path)?, mapped)?;
        if matches!(self.buffers, Buffers::Registered)
            && let Err(error) = ring.register()
        {
            return Ok(Some(Verdict::NotRegistered(error)));
        }
        let result = ring.transfer(self.way, self.buffers)?;
        if matches!(self.buffers, Buffers::Registered) {
            ring.unregister()?;
        }
        Ok(match result {
            Ok(bytes) if bytes == self.bytes() => None,
            Ok(bytes) => Some(Verdict::Short(bytes)),
            Err(error) => Some(Verdict::Failed(error)),
        })
    }

    /// The disk through the page cache.
    fn disk(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.path)
    }

    /// Copies all pages between the guest and `bytes`.
    fn copy(
        &self,
        grants: &mut dyn Grants,
        direction: Direction,
        bytes: &mut [u8],
    ) -> Result<(), Failure> {
        let mut ops = ways::copy_ops(direction, self.domid, self.grefs);
        grants.copy(VolatileSlice::from(bytes), &mut ops);
        ways::all_copied(&ops)
    }
}

/// Writes and makes durable, so that nothing is left to be written back over what comes later.
fn put(disk: &File, bytes: &[u8]) -> io::Result<()> {
    disk.write_all_at(bytes, 0)?;
    disk.sync_all()
}

/// Bytes that no other salt gives.
fn pattern(salt: u32, len_bytes: usize) -> Vec<u8> {
    let words = (0_u32..).map(|at| (at ^ salt.rotate_left(16)).wrapping_mul(0x9e37_79b1));
    words.flat_map(u32::to_le_bytes).take(len_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_different_salts_differ_in_every_page() {
        let (one, other) = (pattern(1, 2 * PAGE_SIZE), pattern(2, 2 * PAGE_SIZE));
        let mut pages = one.chunks(PAGE_SIZE).zip(other.chunks(PAGE_SIZE));
        assert!(pages.all(|(one, other)| one != other));
        assert_ne!(one[..PAGE_SIZE], one[PAGE_SIZE..]);
    }
}
