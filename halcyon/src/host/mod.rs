//! `halcyon host`: the daemon of a backend domain. It starts a process for every guest that gets a
//! device for us, opens images for those processes, and serves nothing itself.
//!
//! ```text
//!   xenstore ─► link ─► tree ──► a device appeared, went, is to be closed ─► judge ─► spawn
//!   pidfd    ─► a process ended ──► its guest's devices are looked at ─────► judge ─► one line
//!   socket   ─► desk ──► a process asks for an image ──► a thread opens it
//! ```
//!
//! VM processes owe it nothing once they have their images: it may stop, crash or be replaced
//! while they serve, and the next daemon finds them by their claims.
//!
//! Invariant: one thread, asleep unless something happens below the domain's own `backend` node;
//! what happens to one guest costs a look at that guest and at no other.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use disk::lock::{self, LockError, Mode};

use crate::cli::args::HostArgs;
use crate::cli::place::{PlatformArg, state_dir};
use crate::error::{Doing as _, Exit, Failure};
use crate::vm::claim::still_named;
use crate::{malloc, signals};
use daemon::Daemon;
use wait::{Source, Waiter};

mod daemon;
mod desk;
mod guests;
mod ignored;
mod inquiries;
mod judge;
mod lanes;
mod link;
mod notify;
mod permit;
mod pidfd;
mod spawn;
mod tree;
mod wait;

/// Where VM processes ask for their images, in the state directory.
pub const SOCKET: &str = "host.sock";
/// Locked by the daemon of this domain, in the state directory.
const LOCK: &str = "host.lock";

/// Serves the backend domain until told to stop. The VM processes go on.
pub fn run(platform: &PlatformArg, args: &HostArgs) -> Result<(), Failure> {
    malloc::for_a_small_process();
    let signals = signals::descriptor().doing(|| "block signals".into())?;
    let place = Place::take(state_dir(platform))?;
    let waiter = Waiter::new().doing(|| "start".into())?;
    waiter
        .add(&signals, Source::Signals)
        .doing(|| "listen to signals".into())?;
    let mut daemon = Daemon::new(platform, args, &place, waiter)?;
    daemon.start()?;
    let stopped = daemon.serve().doing(|| "xenstore connection".into());
    notify::say("STOPPING=1");
    drop(signals);
    stopped
}

/// The daemon's place in the file system: at most one daemon has it.
pub(crate) struct Place {
    /// The state directory.
    pub(crate) state: PathBuf,
    _lock: File,
}

impl Place {
    fn take(state: PathBuf) -> Result<Self, Failure> {
        let what = || format!("create state directory {}", state.display());
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&state).doing(what)?;
        let path = state.join(LOCK);
        let lock = lock_file(&path)?;
        Ok(Self { state, _lock: lock })
    }

    /// Where VM processes ask for their images.
    pub(crate) fn socket(&self) -> PathBuf {
        self.state.join(SOCKET)
    }
}

impl Drop for Place {
    /// Those who look for the daemon wait for the name to come back; the lock's name goes while it
    /// is still held.
    fn drop(&mut self) {
        drop(fs::remove_file(self.socket()));
        drop(fs::remove_file(self.state.join(LOCK)));
    }
}

fn lock_file(path: &Path) -> Result<File, Failure> {
    let what = || format!("lock {}", path.display());
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(path).doing(what)?;
    match lock::take(file.as_fd(), Mode::Exclusive) {
        Ok(()) if !still_named(&file, path) => lock_file(path),
        Ok(()) => {
            file.set_len(0).doing(what)?;
            writeln!(file, "process {}", std::process::id()).doing(what)?;
            Ok(file)
        }
        Err(LockError::Held) => {
            let holder = fs::read_to_string(path).unwrap_or_default();
            let holder = holder.trim();
            let text = format!("this domain has a host daemon already ({holder}): stop it first");
            Err(Failure::new(Exit::Held, text))
        }
        Err(error) => Err(error).doing(what),
    }
}
