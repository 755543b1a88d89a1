//! A store connection that waits: for tools and tests. Devices use [`Client`] through the reactor.
//!
//! Built on the same client, over a unix socket. Replies are read while a batch is being sent, so
//! that neither end can fill the other's socket buffer and wait for ever.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use abi::DomId;

use crate::wire::Request;
use crate::{BadPath, Batch, BatchId, Client, Corrupt, Event, Path, Perm, Reply, Step, StoreError};

/// Unanswered requests at a time. 32 replies of 4112 bytes fit Linux's default socket buffer of
/// 208 KiB, so the server can always answer what it has taken.
const IN_FLIGHT_MAX: usize = 32;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refused it.
    #[error("xenstore refused the request")]
    Refused(#[from] StoreError),
    /// The text is not a path.
    #[error("not a xenstore path")]
    Path(#[from] BadPath),
    /// The connection broke.
    #[error("xenstore connection failed")]
    Io(#[from] io::Error),
    /// The server sent nonsense.
    #[error("xenstore connection is out of step")]
    Corrupt(#[from] Corrupt),
}

/// A connection to xenstored.
#[derive(Debug)]
pub struct Store {
    stream: UnixStream,
    client: Client,
    watched: VecDeque<(Path, String)>,
}

impl Store {
    /// Connects to the socket of a xenstored.
    pub fn connect(socket: &std::path::Path) -> io::Result<Self> {
        Ok(Self::over(UnixStream::connect(socket)?))
    }

    /// Uses a connection that exists.
    pub fn over(stream: UnixStream) -> Self {
        Self {
            stream,
            client: Client::new(),
            watched: VecDeque::new(),
        }
    }

    /// Runs a batch and waits for its replies, one per step.
    pub fn run(&mut self, batch: Batch) -> Result<Vec<Result<Reply, StoreError>>, Error> {
        let id = self.client.submit(batch);
        loop {
            if let Some(replies) = self.replies_of(id) {
                return Ok(replies);
            }
            self.send()?;
            self.receive()?;
        }
    }

    /// The value of a node, `None` if it does not exist.
    pub fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let reply = present(self.step(Step::Read(path.try_into()?)))?;
        Ok(reply.and_then(|reply| match reply {
            Reply::Value(value) => Some(value),
            _ => None,
        }))
    }

    /// The names of a node's children, `None` if the node does not exist.
    pub fn list(&mut self, path: &str) -> Result<Option<Vec<String>>, Error> {
        let reply = present(self.step(Step::Directory(path.try_into()?)))?;
        Ok(reply.and_then(|reply| match reply {
            Reply::Names(names) => Some(names),
            _ => None,
        }))
    }

    /// Sets a node's value, creating it and its parents.
    pub fn write(&mut self, path: &str, value: impl AsRef<[u8]>) -> Result<(), Error> {
        self.step(Step::Write(path.try_into()?, value.as_ref().to_vec()))?;
        Ok(())
    }

    /// Creates a node if it does not exist.
    pub fn mkdir(&mut self, path: &str) -> Result<(), Error> {
        self.step(Step::Mkdir(path.try_into()?))?;
        Ok(())
    }

    /// Removes a node and all below it; that it is not there is no error.
    pub fn remove(&mut self, path: &str) -> Result<(), Error> {
        present(self.step(Step::Remove(path.try_into()?)))?;
        Ok(())
    }

    /// The permissions of a node, `None` if it does not exist.
    pub fn perms(&mut self, path: &str) -> Result<Option<Vec<Perm>>, Error> {
        let reply = present(self.step(Step::GetPerms(path.try_into()?)))?;
        Ok(reply.and_then(|reply| match reply {
            Reply::Perms(perms) => Some(perms),
            _ => None,
        }))
    }

    /// Sets the permissions of a node; the first entry is the owner and default.
    pub fn set_perms(&mut self, path: &str, perms: &[Perm]) -> Result<(), Error> {
        self.step(Step::SetPerms(path.try_into()?, perms.to_vec()))?;
        Ok(())
    }

    /// Watches a path; the first event comes at once.
    pub fn watch(&mut self, path: &str, token: &str) -> Result<(), Error> {
        self.step(Step::Watch {
            path: path.try_into()?,
            token: token.to_owned(),
        })?;
        Ok(())
    }

    /// Takes a watch back, with those of its events that have not been fetched.
    pub fn unwatch(&mut self, path: &str, token: &str) -> Result<(), Error> {
        let path = Path::try_from(path)?;
        self.step(Step::Unwatch {
            path: path.clone(),
            token: token.to_owned(),
        })?;
        self.watched
            .retain(|(changed, other)| other != token || !path.contains(changed));
        Ok(())
    }

    /// Waits for the next watch event: what changed, and the token of the watch.
    pub fn next_watch(&mut self) -> Result<(Path, String), Error> {
        loop {
            self.collect();
            if let Some(event) = self.watched.pop_front() {
                return Ok(event);
            }
            self.receive()?;
        }
    }

    /// Makes a domain known to the store, as a toolstack does once it has built it.
    pub fn introduce(&mut self, domid: DomId, mfn: i64, port: abi::Port) -> Result<(), Error> {
        self.step(Step::Request(Request::Introduce { domid, mfn, port }))?;
        Ok(())
    }

    /// Makes the store forget a domain.
    pub fn release(&mut self, domid: DomId) -> Result<(), Error> {
        self.step(Step::Request(Request::Release(domid)))?;
        Ok(())
    }

    /// Runs one step.
    pub fn step(&mut self, step: Step) -> Result<Reply, Error> {
        let replies = self.run(Batch::new(vec![step]))?;
        let reply = replies
            .into_iter()
            .next()
            .unwrap_or(Err(StoreError::Invalid));
        Ok(reply?)
    }

    /// Takes events until the replies of `id`; watch events are kept for later.
    fn replies_of(&mut self, id: BatchId) -> Option<Vec<Result<Reply, StoreError>>> {
        while let Some(event) = self.client.next_event() {
            match event {
                Event::Replies { batch, replies } if batch == id => return Some(replies),
                Event::Replies { .. } => {}
                Event::Watch { path, token } => self.watched.push_back((path, token)),
            }
        }
        None
    }

    fn collect(&mut self) {
        while let Some(event) = self.client.next_event() {
            if let Event::Watch { path, token } = event {
                self.watched.push_back((path, token));
            }
        }
    }

    fn send(&mut self) -> Result<(), Error> {
        while !self.client.outgoing().is_empty() && self.client.in_flight() < IN_FLIGHT_MAX {
            let sent = match self.stream.write(self.client.outgoing_message()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                sent => sent?,
            };
            self.client.sent(sent);
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), Error> {
        let mut bytes = [0; 4096];
        let len = match self.stream.read(&mut bytes) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error.into()),
        };
        self.client.incoming(bytes.get(..len).unwrap_or_default())?;
        Ok(())
    }
}

impl AsFd for Store {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn present(reply: Result<Reply, Error>) -> Result<Option<Reply>, Error> {
    match reply {
        Ok(reply) => Ok(Some(reply)),
        Err(Error::Refused(StoreError::NotFound)) => Ok(None),
        Err(error) => Err(error),
    }
}
