//! Attaching and detaching a disk as `xl` does: write, wait for the backend, finish.
//!
//! It waits on watches only; a deadline is the one-shot kind that libxl has too. Other watches on
//! the same connection lose their events meanwhile, so a toolstack uses one of its own.
//!
//! Invariant: an attach that failed has left no node behind.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use abi::io::xenbus::XenbusState;
use xenstore::blocking::{self, Store};
use xenstore::{BadPath, Batch, StoreError};

use super::Disk;

/// How long libxl waits for a backend (`LIBXL_INIT_TIMEOUT`).
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Token of the one watch that is set while waiting.
const TOKEN: &str = "toolstack";

/// A device could not be attached or detached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection failed.
    #[error("talking to xenstore")]
    Store(#[from] blocking::Error),
    /// Xenstore refused one of the writes.
    #[error("writing the nodes of the device")]
    Nodes(#[from] StoreError),
    /// Some name cannot stand in a path.
    #[error("naming the nodes of the device")]
    Path(#[from] BadPath),
    /// The deadline could not be set.
    #[error("setting a deadline")]
    Deadline(#[from] io::Error),
    /// The backend refused the device, in its words.
    #[error("backend refused the device: {0}")]
    Refused(String),
    /// The backend said nothing in time.
    #[error("backend is in state {}, not {}, after {} s", state.0, wanted.0, patience.as_secs())]
    Silent {
        /// Where it stands.
        state: XenbusState,
        /// Where it should be.
        wanted: XenbusState,
        /// How long that was waited for.
        patience: Duration,
    },
}

/// Runs a batch of which every step has to succeed.
pub fn run(store: &mut Store, batch: Batch) -> Result<(), Error> {
    let replies = store.run(batch)?;
    replies
        .into_iter()
        .try_for_each(|reply| reply.map(drop))
        .map_err(Error::from)
}

/// Runs a batch of removals: what does not exist needs no removing.
pub fn clear(store: &mut Store, batch: Batch) -> Result<(), Error> {
    let replies = store.run(batch)?.into_iter();
    let failures = replies.filter_map(Result::err);
    match failures
        .into_iter()
        .find(|error| *error != StoreError::NotFound)
    {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// Attaches a disk: returns when the backend has opened it and awaits the frontend.
pub fn plug(store: &mut Store, disk: &Disk, patience: Duration) -> Result<(), Error> {
    run(store, disk.attach()?)?;
    match wait_for(store, &disk.backend(), XenbusState::INIT_WAIT, patience) {
        Ok(()) => run(store, disk.script_done()?),
        Err(error) => {
            clear(store, disk.remove()?)?;
            Err(error)
        }
    }
}

/// Detaches a disk: returns when the backend has let go of it and its nodes are removed. If it
/// does not let go in time the nodes stay, so that the caller may wait on with [`detach`].
pub fn unplug(store: &mut Store, disk: &Disk, patience: Duration) -> Result<(), Error> {
    run(store, disk.request_detach()?)?;
    detach(store, disk, patience)
}

/// The second half of [`unplug`].
pub fn detach(store: &mut Store, disk: &Disk, patience: Duration) -> Result<(), Error> {
    wait_for(store, &disk.backend(), XenbusState::CLOSED, patience)?;
    clear(store, disk.remove()?)
}

/// Waits until the backend in directory `backend` has reached at least the state `wanted`.
pub fn wait_for(
    store: &mut Store,
    backend: &str,
    wanted: XenbusState,
    patience: Duration,
) -> Result<(), Error> {
    store.watch(backend, TOKEN)?;
    let reached = watch_until(store, backend, wanted, patience);
    set_timeout(store, None)?;
    store.unwatch(backend, TOKEN)?;
    reached
}

fn watch_until(
    store: &mut Store,
    backend: &str,
    wanted: XenbusState,
    patience: Duration,
) -> Result<(), Error> {
    let until = Instant::now() + patience;
    loop {
        let state = state_of(store, backend)?;
        // The script looks for this before anything else.
        if let Some(why) = complaint(store, backend)?.filter(|_| wanted != XenbusState::CLOSED) {
            return Err(Error::Refused(why));
        }
        if reaches(state, wanted) {
            return Ok(());
        }
        let left = until.saturating_duration_since(Instant::now());
        set_timeout(store, Some(left.max(Duration::from_millis(1))))?;
        match store.next_watch() {
            Ok(_) => set_timeout(store, None)?,
            Err(blocking::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(Error::Silent {
                    state,
                    wanted,
                    patience,
                });
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether a device in `state` has come as far as `wanted`: on its way up it may have got further
/// by the time anybody looks.
fn reaches(state: XenbusState, wanted: XenbusState) -> bool {
    state == wanted || (wanted..=XenbusState::CONNECTED).contains(&state)
}

/// The state of a backend; a missing node counts as closed, as for libxl.
fn state_of(store: &mut Store, backend: &str) -> Result<XenbusState, Error> {
    let node = store.read(&format!("{backend}/state"))?;
    Ok(node.map_or(XenbusState::CLOSED, |node| XenbusState::parse(&node)))
}

/// What the backend has to say to `xl`, if it refused.
fn complaint(store: &mut Store, backend: &str) -> Result<Option<String>, Error> {
    let node = store.read(&format!("{backend}/hotplug-error"))?;
    Ok(node.map(|text| String::from_utf8_lossy(&text).into_owned()))
}

/// The socket belongs to the store; its receive timeout is set through a second descriptor.
fn set_timeout(store: &Store, timeout: Option<Duration>) -> io::Result<()> {
    UnixStream::from(store.as_fd().try_clone_to_owned()?).set_read_timeout(timeout)
}
