//! The claim on a guest: one process serves a kind of backend of a domain, and no second one.
//!
//! A claim is a file in the VM's state directory, locked for as long as its process lives; its name
//! says which domain and kind, its text tells people who that is. It is removed when its process
//! ends well. A guest that reboots has another domain number, so its new process does not wait for
//! the old one here; images have locks of their own.
//!
//! Invariant: the lock decides, and only while its file still has its name; the text is only told.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use abi::DomId;
use disk::lock::{self, LockError, Mode};

use super::td3;
use crate::cli::args::KindArg;
use crate::error::{Doing as _, Exit, Failure};

/// How often the file may vanish between being opened and being locked: each time another process
/// has ended well in between.
const ATTEMPTS_MAX: u32 = 16;

/// A held claim; dropping it ends it.
#[derive(Debug)]
pub struct Claim {
    files: Vec<(PathBuf, File)>,
    dir: PathBuf,
}

/// A claim that a living process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The domain that it serves.
    pub domid: DomId,
    /// Which kind of its devices.
    pub kind: KindArg,
    /// The process.
    pub pid: u32,
}

/// The state directory of one VM, created where it is missing.
pub fn vm_dir(state: &Path, uuid: &str) -> Result<PathBuf, Failure> {
    let dir = state.join(uuid);
    create(&dir).doing(|| format!("create state directory {}", dir.display()))?;
    Ok(dir)
}

fn create(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

/// The claims in the state directory of a VM that are held.
pub fn held(dir: &Path) -> io::Result<Vec<Held>> {
    let mut found = Vec::new();
    for (domid, kind, path) in claims(dir)? {
        if let Some(pid) = holder(&path) {
            found.push(Held { domid, kind, pid });
        }
    }
    Ok(found)
}

/// The claims in the state directory of a VM that nobody holds any more: their processes did not
/// end well.
#[must_use]
pub fn left_behind(dir: &Path) -> Vec<(DomId, KindArg)> {
    let claims = claims(dir).unwrap_or_default().into_iter();
    let left = claims.filter(|(_, _, path)| is_free(path));
    left.map(|(domid, kind, _)| (domid, kind)).collect()
}

/// The processes that serve other domains of the VM than `domid`: what it was before it rebooted,
/// or what it is restored from.
#[must_use]
pub fn others(dir: &Path, domid: DomId) -> Vec<u32> {
    let held = held(dir).unwrap_or_default().into_iter();
    let others = held.filter(|claim| claim.domid != domid);
    others.map(|claim| claim.pid).collect()
}

/// Removes what processes of `domid` that did not end well have left behind in `dir`, and the
/// directory if it is empty then.
pub fn tidy(dir: &Path, domid: DomId) {
    for (of, _, path) in claims(dir).unwrap_or_default() {
        if of == domid {
            remove_free(&path);
        }
    }
    td3::sweep(dir);
    // There may be more in it.
    drop(fs::remove_dir(dir));
}

/// Every claim file, whether held or left behind.
fn claims(dir: &Path) -> io::Result<Vec<(DomId, KindArg, PathBuf)>> {
    let mut claims = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let parts = name.to_str().and_then(|name| {
            let (domid, kind) = name.strip_prefix("claim-")?.split_once('-')?;
            Some((DomId(domid.parse().ok()?), KindArg::named(kind)?))
        });
        claims.extend(parts.map(|(domid, kind)| (domid, kind, entry.path())));
    }
    Ok(claims)
}

/// Who holds the claim of this file: what its text says, for the lock decides whether anybody does.
/// Whoever has just taken it has not written its text yet.
fn holder(path: &Path) -> Option<u32> {
    match try_lock(path).ok()? {
        Err(LockError::Held) => {
            let text = fs::read_to_string(path).ok()?;
            text.trim().rsplit(' ').next()?.parse().ok()
        }
        _ => None,
    }
}

/// Whether nobody holds the claim of this file.
fn is_free(path: &Path) -> bool {
    try_lock(path).is_ok_and(|locked| locked.is_ok())
}

/// Removes the claim if nobody holds it; whoever takes it meanwhile finds that it has no name.
fn remove_free(path: &Path) {
    if let Ok(Ok(_held)) = try_lock(path) {
        drop(fs::remove_file(path));
    }
}

/// Locks a claim for as long as its file is kept, if it is free.
fn try_lock(path: &Path) -> io::Result<Result<File, LockError>> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    Ok(lock::take(file.as_fd(), Mode::Exclusive).map(|()| file))
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
        let mut claim = Self {
            files: Vec::new(),
            dir: dir.to_owned(),
        };
        for &kind in &kinds {
            let path = dir.join(format!("claim-{domid}-{}", kind.name()));
            let file = take_one(&path, domid, kind, limit)?;
            claim.files.push((path, file));
        }
        claim.supersede(domid, &kinds);
        Ok(claim)
    }

    /// Removes the claims of the same kinds that were left behind in other domains of this VM, as
    /// before a reboot: where no daemon started those processes, nobody else does.
    fn supersede(&self, domid: DomId, kinds: &[KindArg]) {
        for (of, kind, path) in claims(&self.dir).unwrap_or_default() {
            if of != domid && kinds.contains(&kind) {
                remove_free(&path);
            }
        }
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

impl Drop for Claim {
    /// The names go while the locks are still held, so that nobody can have taken them over.
    fn drop(&mut self) {
        for (path, _) in &self.files {
            drop(fs::remove_file(path));
        }
        // There may be more in it.
        drop(fs::remove_dir(&self.dir));
    }
}

fn take_one(path: &Path, domid: DomId, kind: KindArg, limit: Duration) -> Result<File, Failure> {
    let what = || format!("claim {}", path.display());
    for _ in 0..ATTEMPTS_MAX {
        let mut file = open(path).doing(what)?;
        match lock::wait(file.as_fd(), Mode::Exclusive, limit) {
            Ok(()) => {}
            Err(LockError::Held) => return Err(refused(path, domid, kind, limit)),
            Err(error) => return Err(error).doing(what),
        }
        if still_named(&file, path) {
            file.set_len(0).doing(what)?;
            writeln!(file, "domain {domid}, process {}", std::process::id()).doing(what)?;
            return Ok(file);
        }
    }
    Err(io::Error::from(ErrorKind::ResourceBusy)).doing(what)
}

/// Whoever ends well removes the directory too, so it may have to be made anew.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create(path.parent().unwrap_or(path))?;
            options.open(path)
        }
        result => result,
    }
}

/// Whether the file that was locked is the one that the next process will find.
#[must_use]
pub fn still_named(file: &File, path: &Path) -> bool {
    let number = |meta: fs::Metadata| (meta.dev(), meta.ino());
    let named = fs::metadata(path).map(number).ok();
    named.is_some() && named == file.metadata().map(number).ok()
}

fn refused(path: &Path, domid: DomId, kind: KindArg, limit: Duration) -> Failure {
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

    const VBD3: [KindArg; 1] = [KindArg::Vbd3];

    fn dir() -> Scratch {
        Scratch::new().unwrap()
    }

    fn take(dir: &Path, domid: u16, kinds: &[KindArg]) -> Result<Claim, Failure> {
        Claim::take(dir, DomId(domid), kinds, Duration::from_millis(1))
    }

    #[test]
    fn a_second_claim_of_the_same_kind_names_the_first() {
        let dir = dir();
        let _first = take(dir.path(), 7, &VBD3).unwrap();
        let failure = take(dir.path(), 7, &VBD3).unwrap_err();
        assert_eq!(failure.exit, Exit::Held);
        assert!(failure.to_string().contains("domain 7, process"));
    }

    #[test]
    fn different_kinds_of_one_guest_have_different_processes() {
        let dir = dir();
        let first = take(dir.path(), 7, &VBD3).unwrap();
        let other = take(dir.path(), 7, &[KindArg::Qdisk]).unwrap();
        assert_eq!(first.len() + other.len(), 2);
    }

    #[test]
    fn the_domain_that_a_guest_reboots_into_does_not_wait_for_the_old_one() {
        let dir = dir();
        let _old = take(dir.path(), 7, &VBD3).unwrap();
        let _new = take(dir.path(), 8, &VBD3).unwrap();
        assert_eq!(others(dir.path(), DomId(8)), [std::process::id()]);
        assert_eq!(others(dir.path(), DomId(9)).len(), 2);
    }

    #[test]
    fn an_ended_claim_leaves_nothing_and_can_be_taken_again() {
        let dir = dir();
        let vm = vm_dir(dir.path(), "uuid").unwrap();
        drop(take(&vm, 7, &VBD3).unwrap());
        assert!(!vm.exists());
        assert!(take(&vm, 7, &VBD3).is_ok());
    }

    #[test]
    fn a_claim_that_was_left_behind_is_nobodys_and_is_tidied_up() {
        let dir = dir();
        let vm = vm_dir(dir.path(), "uuid").unwrap();
        fs::write(vm.join("claim-7-vbd3"), "domain 7, process 1\n").unwrap();
        assert_eq!(held(&vm).unwrap(), []);
        assert_eq!(left_behind(&vm), [(DomId(7), KindArg::Vbd3)]);
        tidy(&vm, DomId(8));
        assert!(vm.exists());
        tidy(&vm, DomId(7));
        assert!(!vm.exists());
    }

    #[test]
    fn what_the_same_vm_left_behind_before_its_reboot_goes_with_the_next_claim() {
        let dir = dir();
        let vm = vm_dir(dir.path(), "uuid").unwrap();
        fs::write(vm.join("claim-7-vbd3"), "domain 7, process 1\n").unwrap();
        let living = take(&vm, 8, &VBD3).unwrap();
        let next = take(&vm, 9, &VBD3).unwrap();
        assert!(!vm.join("claim-7-vbd3").exists());
        assert!(vm.join("claim-8-vbd3").exists());
        drop((living, next));
        assert!(!vm.exists());
    }

    #[test]
    fn a_claim_whose_text_is_not_written_yet_is_held_all_the_same() {
        let dir = dir();
        let _claim = take(dir.path(), 7, &VBD3).unwrap();
        let path = dir.path().join("claim-7-vbd3");
        fs::write(&path, "").unwrap();
        assert_eq!(left_behind(dir.path()), []);
        tidy(dir.path(), DomId(7));
        assert!(path.exists());
    }

    #[test]
    fn a_claim_whose_file_lost_its_name_is_not_one() {
        let dir = dir();
        let path = dir.path().join("claim-7-vbd3");
        let file = open(&path).unwrap();
        assert!(still_named(&file, &path));
        fs::remove_file(&path).unwrap();
        assert!(!still_named(&file, &path));
    }
}
