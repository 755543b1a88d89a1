//! Calls to the host.
//!
//! Live, a call sends one message to the host process and waits for the answer, so it blocks: that
//! is for attaching, binding, mapping and managing domains, never for data. In a world it is a
//! function call. [`Control`] is the toolstack's side.
//!
//! Invariant: a connection carries one call at a time, and closing it undoes what its client
//! holds.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use abi::DomId;

use super::HOST_SOCKET;
use super::wire::{DomainInfo, MESSAGE_MAX, NewDomain, Reply, Request, decode, encode};
use crate::sys::socket;
use crate::world::Host;

/// A call to the host process failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers in that directory.
    #[error("connecting to the simulated host at {}", path.display())]
    Connect {
        /// The control socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The operating system failed.
    #[error("{doing}")]
    Os {
        /// What was being done.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The host refused.
    #[error("simulated host: {why}")]
    Refused {
        /// As a number of `errno.h`.
        errno: i32,
        /// In its words.
        why: String,
    },
    /// The host answered something that does not belong to the question.
    #[error("simulated host gave an answer of the wrong kind")]
    Confused,
}

impl Error {
    /// For `map_err`: an operating system error while doing something.
    pub(crate) fn os(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Os { doing, source }
    }

    /// As the error of an operation whose caller expects one of the operating system.
    pub(super) fn into_io(self) -> io::Error {
        match self {
            Self::Refused { errno, .. } => io::Error::from_raw_os_error(errno),
            Self::Connect { source, .. } | Self::Os { source, .. } => source,
            Self::Confused => io::ErrorKind::InvalidData.into(),
        }
    }
}

/// A connection to the host.
pub(crate) struct Connection {
    transport: Transport,
}

enum Transport {
    /// To the host process; held for one exchange.
    Socket(Mutex<OwnedFd>),
    /// To the host of a world, as this client.
    Direct(Host, u32),
}

impl Connection {
    /// Connects to the host in `dir`.
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(HOST_SOCKET);
        match socket::connect(&path) {
            Ok(socket) => Ok(Self {
                transport: Transport::Socket(Mutex::new(socket)),
            }),
            Err(source) => Err(Error::Connect { path, source }),
        }
    }

    /// Connects to the host of a world.
    pub(crate) fn direct(host: Host, client: u32) -> Self {
        Self {
            transport: Transport::Direct(host, client),
        }
    }

    /// One exchange: a refusal is an error.
    pub(super) fn call(&self, request: Request) -> Result<(Reply, Vec<OwnedFd>), Error> {
        match &self.transport {
            Transport::Socket(socket) => Self::exchange(socket, &request),
            Transport::Direct(host, client) => host.call(*client, request),
        }
    }

    fn exchange(
        socket: &Mutex<OwnedFd>,
        request: &Request,
    ) -> Result<(Reply, Vec<OwnedFd>), Error> {
        let socket = socket.lock().unwrap_or_else(PoisonError::into_inner);
        socket::send(socket.as_fd(), &encode(request), &[], false)
            .map_err(Error::os("sending to the simulated host"))?;
        let mut buffer = vec![0; MESSAGE_MAX];
        let (n, fds) = socket::receive(socket.as_fd(), &mut buffer)
            .map_err(Error::os("receiving from the simulated host"))?;
        if n == 0 {
            let source = io::ErrorKind::UnexpectedEof.into();
            return Err(Error::Os {
                doing: "receiving from the simulated host",
                source,
            });
        }
        match decode(&buffer[..n]).map_err(|_| Error::Confused)? {
            Reply::Failed { errno, why } => Err(Error::Refused { errno, why }),
            reply => Ok((reply, fds)),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// A toolstack's connection to the host process.
#[derive(Debug)]
pub struct Control {
    connection: Connection,
}

impl Control {
    /// Connects to the host in `dir`.
    pub fn connect(dir: &Path) -> Result<Self, Error> {
        Ok(Self::over(Connection::open(dir)?))
    }

    /// Uses a connection that exists.
    pub(crate) fn over(connection: Connection) -> Self {
        Self { connection }
    }

    /// Creates a domain, without a guest in it yet, and makes it known to xenstore.
    pub fn create(&self, domain: &NewDomain) -> Result<DomId, Error> {
        match self.connection.call(Request::Create(domain.clone()))?.0 {
            Reply::Created { domid } => Ok(DomId(domid)),
            _ => Err(Error::Confused),
        }
    }

    /// All domains but the control domain.
    pub fn list(&self) -> Result<Vec<DomainInfo>, Error> {
        let mut all: Vec<DomainInfo> = Vec::new();
        loop {
            let from = all.last().map_or(0, |last| last.domid + 1);
            let Reply::Domains(some) = self.connection.call(Request::List { from })?.0 else {
                return Err(Error::Confused);
            };
            if some.is_empty() {
                return Ok(all);
            }
            all.extend(some);
        }
    }

    /// Destroys a domain: its ports close, its guest's connection ends, and `@releaseDomain`
    /// fires. It stays listed as dying while others have its pages mapped.
    pub fn destroy(&self, domid: DomId) -> Result<(), Error> {
        self.done(Request::Destroy { domid: domid.0 })
    }

    /// Makes the host process end.
    pub fn stop(&self) -> Result<(), Error> {
        self.done(Request::Stop)
    }

    fn done(&self, request: Request) -> Result<(), Error> {
        match self.connection.call(request)?.0 {
            Reply::Done => Ok(()),
            _ => Err(Error::Confused),
        }
    }
}
