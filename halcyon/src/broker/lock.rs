//! When an image becomes ours.
//!
//! The lock is tried without waiting first. Where a process has it that serves another domain of
//! the same VM (the guest reboots, is restored or migrates to this very host), a device that has no
//! frontend yet can do without: it is promised, and the lock is waited for when the frontend is
//! there. Anybody else is waited for at once, for as long as there is time.
//!
//! Judging reads the first and last bytes, to tell formats apart; that says nothing any more about
//! an image that was in other hands afterwards, so it is judged again then. Knows no path.
//!
//! Invariant: what is [`Found::Locked`] was judged under its lock, and a promise keeps no
//! descriptor.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Instant;

use abi::DomId;
use blkback::{LockBy, Refusal};
use disk::lock::{self, HeldBy, LockError, Mode};
use disk::prepare::{self, Prepared, prepare};
use disk::{Geometry, ImageSpec};

use crate::vm::claim;

/// The other domains of a VM: those that were it before, or will be.
#[derive(Clone, Debug)]
pub struct Siblings {
    dir: PathBuf,
    domid: DomId,
}

impl Siblings {
    /// Those of the domain `domid`, of the VM whose state directory is `dir`.
    #[must_use]
    pub fn new(dir: PathBuf, domid: DomId) -> Self {
        Self { dir, domid }
    }

    /// Whether a process of theirs has the image. It looks at those processes and at no other.
    fn hold(&self, image: BorrowedFd<'_>, mode: Mode) -> bool {
        let mut pids = claim::others(&self.dir, self.domid).into_iter();
        pids.any(|pid| lock::is_held_by(pid, image, mode))
    }
}

/// An image that can be served, now or later.
#[derive(Debug)]
pub enum Found {
    /// It is ours.
    Locked(Prepared),
    /// A sibling has it still; what its disk says of itself.
    Promised(Geometry),
}

/// Why an image cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    /// For what it is.
    #[error(transparent)]
    Judged(#[from] prepare::Refusal),
    /// For who has it.
    #[error(transparent)]
    Held(#[from] HeldBy),
    /// For the system, which does not lock it.
    #[error(transparent)]
    Lock(LockError),
}

impl NotFound {
    /// The closest errno.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            Self::Judged(_) => Refusal::EINVAL,
            Self::Held(_) | Self::Lock(_) => libc::EBUSY,
        }
    }
}

/// What is wanted of an image that is open.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// What it was said to be.
    pub spec: &'a ImageSpec,
    /// Whether it is for reading alone.
    pub read_only: bool,
    /// When its lock is needed.
    pub lock_by: LockBy,
    /// When it is given up.
    pub until: Instant,
}

impl Wanted<'_> {
    /// See the head of this file. A file that cannot be served is not waited for.
    pub fn judge_and_lock(self, image: OwnedFd, siblings: &Siblings) -> Result<Found, NotFound> {
        let mode = Mode::of(self.read_only);
        let prepare = |image| prepare(image, self.spec, self.read_only);
        let at_once = lock::take(image.as_fd(), mode);
        let Prepared { fd, geometry, .. } = match (at_once, prepare(image)?) {
            (Ok(()), prepared) => return Ok(Found::Locked(prepared)),
            (Err(LockError::Held), prepared) => prepared,
            (Err(error), _) => return Err(NotFound::Lock(error)),
        };
        if self.lock_by == LockBy::Connect && siblings.hold(fd.as_fd(), mode) {
            return Ok(Found::Promised(geometry));
        }
        let limit = self.until.saturating_duration_since(Instant::now());
        match lock::wait(fd.as_fd(), mode, limit) {
            Ok(()) => Ok(Found::Locked(prepare(fd)?)),
            Err(LockError::Held) => Err(lock::held_by(fd.as_fd(), mode).into()),
            Err(error) => Err(NotFound::Lock(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, OpenOptions};
    use std::time::Duration;

    use super::*;
    use crate::cli::args::KindArg;
    use crate::demo::scratch::Scratch;
    use crate::vm::claim::Claim;

    /// An image that this very process has locked, beside the state directory of a VM.
    struct Town {
        dir: Scratch,
        spec: ImageSpec,
        holder: Option<File>,
    }

    impl Town {
        fn new() -> Self {
            let dir = Scratch::new().unwrap();
            let path = dir.path().join("image");
            fs::write(&path, vec![0x5A; 1 << 16]).unwrap();
            let spec = ImageSpec::parse(path.to_str().unwrap().as_bytes()).unwrap();
            let holder = open(&spec);
            lock::take(holder.as_fd(), Mode::Exclusive).unwrap();
            Self {
                dir,
                spec,
                holder: Some(holder),
            }
        }

        /// This process serves a domain of the VM.
        fn claim(&self, domid: u16) -> Claim {
            let kinds = [KindArg::Vbd3];
            Claim::take(self.dir.path(), DomId(domid), &kinds, Duration::ZERO).unwrap()
        }

        /// What domain 8 of the VM finds.
        fn find(&self, lock_by: LockBy, limit: Duration) -> Result<Found, NotFound> {
            let siblings = Siblings::new(self.dir.path().to_owned(), DomId(8));
            let wanted = Wanted {
                spec: &self.spec,
                read_only: false,
                lock_by,
                until: Instant::now() + limit,
            };
            wanted.judge_and_lock(open(&self.spec).into(), &siblings)
        }
    }

    fn open(spec: &ImageSpec) -> File {
        let mut options = OpenOptions::new();
        options.read(true).write(true).open(&spec.path).unwrap()
    }

    #[test]
    fn an_image_that_a_sibling_has_is_promised() {
        let town = Town::new();
        let _claim = town.claim(7);
        let found = town.find(LockBy::Connect, Duration::ZERO).unwrap();
        assert!(matches!(found, Found::Promised(geometry) if geometry.sectors.0 == 128));
    }

    #[test]
    fn an_image_that_nobody_has_is_ours_at_once() {
        let mut town = Town::new();
        let _claim = town.claim(7);
        town.holder = None;
        // Another test may be starting a process, which has a copy until it executes.
        let found = town.find(LockBy::Now, lock::LIMIT);
        assert!(matches!(found, Ok(Found::Locked(_))));
    }

    #[test]
    fn an_image_that_somebody_else_has_is_given_up_in_time_and_its_holder_named() {
        let town = Town::new();
        let refused = town.find(LockBy::Connect, Duration::ZERO).unwrap_err();
        let ourselves = format!("image is locked by process {} (", std::process::id());
        assert!(refused.to_string().starts_with(&ourselves), "{refused}");
        assert_eq!(refused.errno(), libc::EBUSY);
    }

    #[test]
    fn an_image_that_cannot_be_served_is_refused_although_it_is_locked() {
        let town = Town::new();
        town.holder.as_ref().unwrap().set_len(0).unwrap();
        let refused = town.find(LockBy::Now, Duration::ZERO).unwrap_err();
        assert_eq!(refused.errno(), Refusal::EINVAL);
    }
}
