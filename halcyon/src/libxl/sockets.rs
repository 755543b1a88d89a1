//! The sockets that a toolstack connects to, made here or by the one who started us.
//!
//! Knows nothing of what is said on them. Invariant: a socket that was made here is removed with
//! its [`Socket`].

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::dialect::{Monitor, Place};
use super::inherited;
use crate::error::{Doing as _, Failure};

/// A socket that listens. It does not block.
#[derive(Debug)]
pub(super) struct Socket {
    /// The name that the command line gave to it.
    pub id: String,
    listener: UnixListener,
    path: Option<PathBuf>,
}

impl Socket {
    /// Listens where `monitor` says.
    pub(super) fn listen(monitor: Monitor) -> Result<Self, Failure> {
        let Monitor { id, place } = monitor;
        let (listener, path) = match place {
            Place::Path(path) => {
                let listener = bind(&path).doing(|| format!("listen on {}", path.display()))?;
                (listener, Some(path))
            }
            Place::Inherited(fd) => {
                let what = || format!("-chardev {id}: descriptor {fd} of our parent");
                (inherited::take(fd).doing(what)?.into(), None)
            }
        };
        let socket = Self { id, listener, path };
        let what = || format!("-chardev {}", socket.id);
        socket.listener.set_nonblocking(true).doing(what)?;
        Ok(socket)
    }

    /// A second descriptor of it.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }

    /// Who has connected, or `WouldBlock`.
    pub(super) fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().map(|(stream, _)| stream)
    }

    /// Where it is, in the words of `query-chardev`.
    pub(super) fn filename(&self) -> String {
        let path = self.path.as_deref().unwrap_or(Path::new(""));
        format!("unix:{},server=on", path.display())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // The toolstack may have been faster.
            drop(fs::remove_file(path));
        }
    }
}

/// A process that was killed has left its socket behind: domain numbers come again after a restart
/// of the machine's toolstack.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket {
        fs::remove_file(path)?;
    }
    UnixListener::bind(path)
}
