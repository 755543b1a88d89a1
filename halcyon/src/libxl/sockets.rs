//! The sockets that a toolstack connects to, made here or by the one who started us.
//!
//! Knows nothing of what is said on them. Invariant: a socket that was made here is removed with
//! its [`Socket`], and no other that has taken its name meanwhile.

use std::fs::{self, Metadata};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::dialect::{Monitor, Place};
use super::inherited;
use crate::error::{Doing as _, Failure};

/// A socket that is to listen.
#[derive(Debug)]
pub(super) struct Promised {
    /// The name that the command line gave to it.
    pub id: String,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Path(PathBuf),
    Inherited(UnixListener),
}

impl Promised {
    /// Takes over what our parent has made for `monitor`, and makes nothing yet: the name may be
    /// that of another process's socket.
    pub(super) fn take(monitor: Monitor) -> Result<Self, Failure> {
        let Monitor { id, place } = monitor;
        let source = match place {
            Place::Path(path) => Source::Path(path),
            Place::Inherited(fd) => {
                let what = || format!("-chardev {id}: descriptor {fd} of our parent");
                Source::Inherited(inherited::take(fd).doing(what)?.into())
            }
        };
        Ok(Self { id, source })
    }

    /// Where it will be, in the words of `query-chardev`.
    pub(super) fn filename(&self) -> String {
        let path = match &self.source {
            Source::Path(path) => path.as_path(),
            Source::Inherited(_) => Path::new(""),
        };
        format!("unix:{},server=on", path.display())
    }

    /// Listens.
    pub(super) fn listen(self) -> Result<Socket, Failure> {
        let (listener, name) = match self.source {
            Source::Path(path) => {
                let what = || format!("listen on {}", path.display());
                let listener = bind(&path).doing(what)?;
                let name = Name::of(path.clone()).doing(what)?;
                (listener, Some(name))
            }
            Source::Inherited(listener) => (listener, None),
        };
        let what = || format!("-chardev {}", self.id);
        listener.set_nonblocking(true).doing(what)?;
        Ok(Socket {
            id: self.id,
            listener,
            _name: name,
        })
    }
}

/// A socket that listens. It does not block.
#[derive(Debug)]
pub(super) struct Socket {
    /// See [`Promised::id`].
    pub id: String,
    listener: UnixListener,
    _name: Option<Name>,
}

impl Socket {
    /// A second descriptor of it.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }

    /// Who has connected, or `WouldBlock`.
    pub(super) fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().map(|(stream, _)| stream)
    }
}

/// The name of a socket that was made here; dropping it removes it.
#[derive(Debug)]
struct Name {
    path: PathBuf,
    /// Device and inode of what it names.
    names: (u64, u64),
}

impl Name {
    fn of(path: PathBuf) -> io::Result<Self> {
        let names = numbers(&fs::symlink_metadata(&path)?);
        Ok(Self { path, names })
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // The toolstack may have been faster, and then another process has the name by now.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| numbers(&found) == self.names) {
            drop(fs::remove_file(&self.path));
        }
    }
}

fn numbers(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch::Scratch;

    fn promised(path: &Path) -> Promised {
        Promised::take(Monitor {
            id: "libxl-cmd".into(),
            place: Place::Path(path.to_owned()),
        })
        .unwrap()
    }

    #[test]
    fn a_socket_that_is_only_promised_leaves_the_one_of_another_process_alone() {
        let dir = Scratch::new().unwrap();
        let path = dir.path().join("qmp");
        let other = promised(&path).listen().unwrap();
        drop(promised(&path));
        UnixStream::connect(&path).unwrap();
        other.accept().unwrap();
    }

    #[test]
    fn a_socket_takes_its_own_name_with_it_and_not_that_of_its_successor() {
        let dir = Scratch::new().unwrap();
        let path = dir.path().join("qmp");
        let old = promised(&path).listen().unwrap();
        let new = promised(&path).listen().unwrap();
        drop(old);
        UnixStream::connect(&path).unwrap();
        new.accept().unwrap();
        drop(new);
        assert!(!path.exists());
    }
}
