//! Xenstore through `/dev/xen/xenbus`: the kernel's own connection, shared by all its processes.
//!
//! Unlike xenstored's socket, the device takes one message for each write, of at most 4096 bytes
//! with its header, one request at a time ([`Client::serial`]), and has an errno for what the
//! kernel refuses to pass on: a watch that xenstored refused is a failed write and has no answer.
//!
//! Invariant: the device does not block; whoever has to wait does it in poll(2).

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use abi::DomId;
use xenstore::{Batch, BatchId, Client, Event, Path, Reply, Step, StoreError};

use super::{Error, sys};

/// The device.
pub const PATH: &str = "/dev/xen/xenbus";

/// A connection that waits for its answers, until it is handed to a reactor as a descriptor.
#[derive(Debug)]
pub struct Xenbus {
    file: File,
    client: Client,
}

impl Xenbus {
    /// Opens the device, nonblocking.
    pub fn open() -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true);
        let opened = options.custom_flags(libc::O_NONBLOCK).open(PATH);
        Ok(Self {
            file: opened.map_err(|source| Error::open(PATH, source))?,
            client: Client::serial(),
        })
    }

    /// The number of the domain that this process runs in: the node `domid` of its home.
    pub fn own_domid(&mut self) -> Result<DomId, Error> {
        let odd = |what: String| Error::Store(what);
        let path = Path::new("domid").map_err(|error| odd(error.to_string()))?;
        self.submit(Batch::new(vec![Step::Read(path)]));
        let reply = match self.next_event()? {
            Event::Replies { replies, .. } => replies.into_iter().next(),
            Event::Watch { .. } => None,
        };
        match reply {
            Some(Ok(Reply::Value(value))) => number(&value).ok_or_else(|| {
                odd(format!(
                    "{:?} is no domain",
                    value.escape_ascii().to_string()
                ))
            }),
            Some(Err(StoreError::NotFound)) => {
                Err(odd("node domid is missing: has xen-init-dom0 run?".into()))
            }
            Some(Err(error)) => Err(odd(error.to_string())),
            _ => Err(odd("no answer".into())),
        }
    }

    /// Queues a batch; its answer is an event.
    pub fn submit(&mut self, batch: Batch) -> BatchId {
        self.client.submit(batch)
    }

    /// Waits for the next thing that happens.
    pub fn next_event(&mut self) -> Result<Event, Error> {
        loop {
            self.send().map_err(Error::os(PATH))?;
            if let Some(event) = self.client.next_event() {
                return Ok(event);
            }
            self.receive()?;
        }
    }

    fn send(&mut self) -> io::Result<()> {
        while !self.client.outgoing_message().is_empty() {
            match self.file.write(self.client.outgoing_message()) {
                Ok(written) => self.client.sent(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or(libc::EIO);
                    self.client.refused(StoreError::from_errno(errno));
                }
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), Error> {
        let mut bytes = [0; 1024];
        match self.file.read(&mut bytes) {
            Ok(len) => {
                let bytes = bytes.get(..len).unwrap_or_default();
                let taken = self.client.incoming(bytes);
                taken.map_err(|corrupt| Error::Store(corrupt.to_string()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sys::wait_readable(self.file.as_fd()).map_err(Error::os(PATH))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(Error::os(PATH)(error)),
        }
    }
}

impl From<Xenbus> for OwnedFd {
    fn from(xenbus: Xenbus) -> Self {
        xenbus.file.into()
    }
}

fn number(value: &[u8]) -> Option<DomId> {
    std::str::from_utf8(value).ok()?.parse().ok().map(DomId)
}
