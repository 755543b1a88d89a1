//! What outlives a domain: the state directory of its VM.
//!
//! Invariant: a state directory goes only when no process claims it any more, and stays if one of
//! its processes failed: then its logs say why.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use disk::lock::{self, LockError, Mode};

use crate::error::{Doing as _, Failure};
use crate::stats;

/// What a VM process says, in the VM's state directory.
pub const LOG: &str = "vm.log";
/// Why the state of a process that did not end well stays.
pub const FAILED: &str = "its process failed, what it said last is there";

/// What became of a state directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is gone.
    Nothing,
    /// It stays, for this reason.
    Because(&'static str),
}

/// Whether the process of a guest that still lives has ended: it has said something, which it does
/// when it has its claim or when it fails, and claims nothing.
pub fn has_given_up(dir: &Path) -> Result<bool, Failure> {
    let spoke = fs::metadata(dir.join(LOG)).is_ok_and(|log| log.len() > 0);
    Ok(spoke && !is_claimed(dir, Duration::ZERO)?)
}

/// Removes the state directory of a VM that was destroyed, waiting at most `limit` for its process
/// to end.
pub fn remove_state(dir: &Path, limit: Duration) -> Result<Kept, Failure> {
    if is_claimed(dir, limit)? {
        return Ok(Kept::Because("its process has not ended yet"));
    }
    // One that crashed has left its counters.
    if dir.join(stats::FILE).exists() {
        return Ok(Kept::Because(FAILED));
    }
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).doing(|| format!("remove {}", dir.display()))
        }
        _ => Ok(Kept::Nothing),
    }
}

/// Whether a process has one of the claims in `dir`, and still has it after `limit`.
fn is_claimed(dir: &Path, limit: Duration) -> Result<bool, Failure> {
    for path in claims(dir).doing(|| format!("list {}", dir.display()))? {
        let what = || format!("look who claims {}", path.display());
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            // It has ended since.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            file => file.doing(what)?,
        };
        let free = match limit {
            Duration::ZERO => lock::take(file.as_fd(), Mode::Exclusive),
            limit => lock::wait(file.as_fd(), Mode::Exclusive, limit),
        };
        match free {
            Ok(()) => {}
            Err(LockError::Held) => return Ok(true),
            Err(error) => return Err(error).doing(what),
        }
    }
    Ok(false)
}

fn claims(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        result => result?,
    };
    let mut claims = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b"claim-") {
            claims.push(entry.path());
        }
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use abi::DomId;

    use super::*;
    use crate::cli::args::KindArg;
    use crate::demo::scratch::Scratch;
    use crate::vm::claim::{Claim, vm_dir};

    fn claimed(scratch: &Scratch) -> (PathBuf, Claim) {
        let dir = vm_dir(scratch.path(), "uuid").unwrap();
        let claim = Claim::take(&dir, DomId(1), &[KindArg::Vbd3], Duration::ZERO).unwrap();
        (dir, claim)
    }

    #[test]
    fn a_state_directory_stays_for_as_long_as_a_process_claims_it() {
        let scratch = Scratch::new().unwrap();
        let (dir, claim) = claimed(&scratch);
        let kept = remove_state(&dir, Duration::from_millis(1)).unwrap();
        assert_eq!(kept, Kept::Because("its process has not ended yet"));
        drop(claim);
        assert_eq!(remove_state(&dir, Duration::ZERO).unwrap(), Kept::Nothing);
        assert!(!dir.exists());
    }

    #[test]
    fn the_state_of_a_process_that_crashed_stays() {
        let scratch = Scratch::new().unwrap();
        let (dir, claim) = claimed(&scratch);
        fs::write(dir.join(stats::FILE), "").unwrap();
        drop(claim);
        let kept = remove_state(&dir, Duration::ZERO).unwrap();
        assert_eq!(kept, Kept::Because(FAILED));
    }

    #[test]
    fn a_process_that_spoke_and_claims_nothing_has_given_up() {
        let scratch = Scratch::new().unwrap();
        let (dir, claim) = claimed(&scratch);
        assert!(!has_given_up(&dir).unwrap());
        fs::write(dir.join(LOG), "halcyon: no luck\n").unwrap();
        assert!(!has_given_up(&dir).unwrap());
        drop(claim);
        assert!(has_given_up(&dir).unwrap());
    }
}
