//! The claim on a guest: one process serves a kind of backend of a VM, and no second one.
//!
//! A claim is a file in the VM's state directory, locked for as long as its process lives; its text
//! tells people who that is. It is named by the UUID, which outlives a reboot: the guest's new
//! domain waits here for the old one's process to drain.
//!
//! Invariant: the lock decides; the text is only told.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use abi::DomId;
use disk::lock::{self, LockError, Mode};

use crate::cli::args::KindArg;
use crate::error::{Doing as _, Exit, Failure};

/// A held claim; dropping it ends it.
#[derive(Debug)]
pub struct Claim {
    files: Vec<File>,
}

/// The state directory of one VM, created where it is missing.
pub fn vm_dir(state: &Path, uuid: &str) -> Result<PathBuf, Failure> {
    let dir = state.join(uuid);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .doing(|| format!("create state directory {}", dir.display()))?;
    Ok(dir)
}

impl Claim {
    /// Claims every one of `kinds`, waiting at most `limit` for whoever has one.
    pub fn take(
        dir: &Path,
        domid: DomId,
        kinds: &[KindArg],
        limit: Duration,
    ) -> Result<Self, Failure> {
        let mut kinds = kinds.to_vec();
        // Every process takes them in the same order, so that no two can wait for each other.
        kinds.sort_by_key(|kind| kind.name());
        kinds.dedup();
        let files = kinds
            .into_iter()
            .map(|kind| take_one(dir, domid, kind, limit));
        Ok(Self {
            files: files.collect::<Result<_, _>>()?,
        })
    }

    /// How many kinds are claimed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether nothing is claimed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

fn take_one(dir: &Path, domid: DomId, kind: KindArg, limit: Duration) -> Result<File, Failure> {
    let path = dir.join(format!("claim-{}", kind.name()));
    let what = || format!("claim {}", path.display());
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .doing(what)?;
    match lock::wait(file.as_fd(), Mode::Exclusive, limit) {
        Ok(()) => {}
        Err(LockError::Held(_)) => return Err(held(&path, domid, kind, limit)),
        Err(error) => return Err(error).doing(what),
    }
    file.set_len(0).doing(what)?;
    writeln!(file, "domain {domid}, process {}", std::process::id()).doing(what)?;
    Ok(file)
}

fn held(path: &Path, domid: DomId, kind: KindArg, limit: Duration) -> Failure {
    let holder = fs::read_to_string(path).unwrap_or_default();
    Failure::new(
        Exit::Held,
        format!(
            "kind {} of domain {domid} is already served ({}): still so after {} s, not started",
            kind.name(),
            holder.trim(),
            limit.as_secs()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch::Scratch;

    fn dir() -> Scratch {
        Scratch::new().unwrap()
    }

    #[test]
    fn a_second_claim_of_the_same_kind_names_the_first() {
        let dir = dir();
        let first = Claim::take(dir.path(), DomId(7), &[KindArg::Vbd3], Duration::ZERO).unwrap();
        let refused = Claim::take(
            dir.path(),
            DomId(8),
            &[KindArg::Vbd3],
            Duration::from_millis(1),
        );
        let failure = refused.unwrap_err();
        assert_eq!(failure.exit, Exit::Held);
        assert!(failure.to_string().contains("domain 7, process"));
        drop(first);
    }

    #[test]
    fn different_kinds_of_one_guest_have_different_processes() {
        let dir = dir();
        let first = Claim::take(dir.path(), DomId(7), &[KindArg::Vbd3], Duration::ZERO).unwrap();
        let other = Claim::take(dir.path(), DomId(7), &[KindArg::Qdisk], Duration::ZERO).unwrap();
        assert_eq!(first.len() + other.len(), 2);
    }

    #[test]
    fn an_ended_claim_can_be_taken_again() {
        let dir = dir();
        drop(Claim::take(dir.path(), DomId(7), &[KindArg::Vbd], Duration::ZERO).unwrap());
        assert!(Claim::take(dir.path(), DomId(8), &[KindArg::Vbd], Duration::ZERO).is_ok());
    }
}
