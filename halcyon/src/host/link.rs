//! The daemon's connection to xenstore: the client and the descriptor that carries it.
//!
//! It knows nothing of what is said. Invariant: it never waits; what could not be sent is sent when
//! the descriptor takes it.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;

use sim::live::STORE_SOCKET;
use xenstore::{Batch, BatchId, Client, Event, StoreError};

use super::wait::{Source, Waiter};
use crate::cli::place::PlatformArg;
use crate::error::{Doing as _, Failure};

/// The kernel's way to xenstored, wherever that lives: one message per write, one request at a time.
const XENBUS: &str = "/dev/xen/xenbus";

/// See the head of this file.
pub(super) struct Link {
    file: File,
    client: Client,
    /// More bytes wait for the descriptor than it took.
    is_full: bool,
}

impl Link {
    /// Connects to the xenstore of a platform.
    pub(super) fn open(platform: &PlatformArg) -> Result<Self, Failure> {
        let (fd, client) = match platform {
            PlatformArg::Linux => {
                let fd = xenbus().doing(|| format!("open {XENBUS}"))?;
                (fd, Client::serial())
            }
            PlatformArg::Sim(dir) => {
                let path = dir.join(STORE_SOCKET);
                let fd = socket(&path).doing(|| format!("connect to {}", path.display()))?;
                (fd, Client::new())
            }
        };
        Ok(Self {
            file: File::from(fd),
            client,
            is_full: false,
        })
    }

    /// Has `waiter` listen to it.
    pub(super) fn listen(&self, waiter: &Waiter) -> io::Result<()> {
        waiter.add(&self.file, Source::Store)
    }

    /// Queues a batch.
    pub(super) fn submit(&mut self, batch: Batch) -> BatchId {
        self.client.submit(batch)
    }

    /// What xenstore said.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        self.client.next_event()
    }

    /// Takes all that has arrived. The end of the connection is an error.
    pub(super) fn receive(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        loop {
            match self.file.read(&mut bytes) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => {
                    let came = bytes.get(..len).unwrap_or_default();
                    self.client.incoming(came).map_err(io::Error::other)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends what is queued, as much as the descriptor takes.
    pub(super) fn send(&mut self, waiter: &Waiter) -> io::Result<()> {
        let mut is_full = false;
        while !self.client.outgoing_message().is_empty() && !is_full {
            match self.file.write(self.client.outgoing_message()) {
                Ok(len) => self.client.sent(len),
                Err(error) if error.kind() == ErrorKind::WouldBlock => is_full = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Err(error),
                // The kernel's own answer to a request: a watch that xenstored refused, say.
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or(libc::EIO);
                    self.client.refused(StoreError::from_errno(errno));
                }
            }
        }
        if is_full != self.is_full {
            self.is_full = is_full;
            waiter.also_writable(&self.file, Source::Store, is_full)?;
        }
        Ok(())
    }
}

fn xenbus() -> io::Result<OwnedFd> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true);
    options
        .custom_flags(libc::O_NONBLOCK)
        .open(XENBUS)
        .map(OwnedFd::from)
}

fn socket(path: &std::path::Path) -> io::Result<OwnedFd> {
    let stream = UnixStream::connect(path)?;
    stream.set_nonblocking(true)?;
    Ok(stream.into())
}
