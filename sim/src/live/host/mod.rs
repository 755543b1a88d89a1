//! The host process: it stands in for the hypervisor and xenstored, and is otherwise asleep.
//!
//! One thread, one epoll set, no timeout. It answers calls, serves xenstore, and holds a pidfd of
//! every client: when one dies, its ports close (peers fall back to unbound), its maps are
//! unpinned, what it was sending is finished, and a dead guest's domain is announced with
//! `@releaseDomain`. Data never passes through it.
//!
//! Invariant: nothing that a client sends stops the host or another client; a client that makes
//! no sense is dropped with one line in the log.

use std::collections::HashMap;
use std::fmt::{self, Arguments};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use abi::DomId;
use xenstore::server::ConnId;

use super::wire::{MESSAGE_MAX, Reply, decode, encode};
use super::{HOST_SOCKET, STORE_SOCKET};
use crate::sys::{self, socket};

mod array;
mod arrays;
mod domain;
pub(crate) mod failure;
pub(crate) mod hypervisor;
mod poll;
mod stores;

use hypervisor::{Effect, Hypervisor};
use poll::{Poll, Token, Wish};
use stores::Stores;

/// Where the host's lines for the operator go.
pub type Log = fn(Arguments<'_>);

/// A host that listens. [`Host::run`] serves it.
pub struct Host {
    dir: PathBuf,
    poll: Poll,
    calls: OwnedFd,
    store_listener: UnixListener,
    clients: HashMap<u32, Client>,
    last_client: u32,
    hypervisor: Hypervisor,
    stores: Stores,
    log: Log,
    stopped: bool,
    /// A connection could not be accepted, for want of descriptors: try again when one is free.
    starved: bool,
}

/// A connection and the process at its other end.
#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    /// Kept for the poll set.
    _process: OwnedFd,
    /// The xenstore connections that end with it.
    stores: Vec<ConnId>,
}

impl Host {
    /// Creates the sockets in `dir`, which exists, and raises the limit of open files as far as
    /// it goes. Refuses a directory where another host answers.
    pub fn bind(dir: &Path, log: Log) -> io::Result<Self> {
        sys::raise_open_files()?;
        let (calls_path, store_path) = (dir.join(HOST_SOCKET), dir.join(STORE_SOCKET));
        if socket::connect(&calls_path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        remove_stale(&calls_path)?;
        remove_stale(&store_path)?;
        let store_listener = UnixListener::bind(&store_path)?;
        store_listener.set_nonblocking(true)?;
        let host = Self {
            dir: dir.to_owned(),
            poll: Poll::new()?,
            calls: socket::listen(&calls_path)?,
            store_listener,
            clients: HashMap::new(),
            last_client: 0,
            hypervisor: Hypervisor::new(),
            stores: Stores::new(),
            log,
            stopped: false,
            starved: false,
        };
        host.poll
            .add(host.calls.as_raw_fd(), Token::Calls, Wish::EDGE)?;
        let listener = host.store_listener.as_raw_fd();
        host.poll.add(listener, Token::StoreListener, Wish::EDGE)?;
        Ok(host)
    }

    /// Serves until a client asks it to stop.
    pub fn run(&mut self) -> io::Result<()> {
        while !self.stopped {
            for token in self.poll.wait()? {
                self.serve(token);
            }
        }
        Ok(())
    }

    fn serve(&mut self, token: Token) {
        match token {
            Token::Calls => self.accept_clients(),
            Token::StoreListener => self.accept_stores(),
            Token::Client(client) => self.receive(client),
            Token::Gone(client) => self.forget(client),
            Token::Store(conn) => self.stores.ready(&self.poll, ConnId(conn)),
        }
    }

    fn accept_clients(&mut self) {
        loop {
            match socket::accept(self.calls.as_fd()) {
                Ok(socket) => {
                    if let Err(error) = self.welcome(socket) {
                        (self.log)(format_args!("client refused: {error}"));
                    }
                }
                Err(error) if passing(&error) => {}
                Err(error) => return self.accept_failed(&error),
            }
        }
    }

    fn welcome(&mut self, socket: OwnedFd) -> io::Result<()> {
        let number = self
            .last_client
            .checked_add(1)
            .ok_or(io::ErrorKind::QuotaExceeded)?;
        let process = socket::peer_pidfd(socket.as_fd())?;
        let pid = socket::peer_pid(socket.as_fd())?;
        self.poll
            .add(socket.as_raw_fd(), Token::Client(number), Wish::READ)?;
        self.poll
            .add(process.as_raw_fd(), Token::Gone(number), Wish::READ)?;
        self.last_client = number;
        self.clients.insert(
            number,
            Client {
                socket,
                _process: process,
                stores: Vec::new(),
            },
        );
        self.hypervisor.arrived(number, pid);
        Ok(())
    }

    fn accept_stores(&mut self) {
        loop {
            match self.store_listener.accept() {
                Ok((stream, _)) => {
                    let added = stream
                        .set_nonblocking(true)
                        .and_then(|()| self.stores.add(&self.poll, stream, DomId::DOM0).map(drop));
                    if let Err(error) = added {
                        (self.log)(format_args!("xenstore client refused: {error}"));
                    }
                }
                Err(error) if passing(&error) => {}
                Err(error) => return self.accept_failed(&error),
            }
        }
    }

    fn accept_failed(&mut self, error: &io::Error) {
        if error.kind() != io::ErrorKind::WouldBlock {
            self.starved = true;
            (self.log)(format_args!("a client has to wait: {error}"));
        }
    }

    /// One message of a client.
    fn receive(&mut self, client: u32) {
        let Some(it) = self.clients.get(&client) else {
            return;
        };
        let mut buffer = [0; MESSAGE_MAX];
        let request = match socket::receive(it.socket.as_fd(), &mut buffer) {
            Ok((0, _)) => return self.forget(client),
            Ok((n, _)) => decode(&buffer[..n]).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => Err(error),
        };
        match request {
            Ok(request) => {
                let answer = self.hypervisor.call(client, request);
                self.answer(client, answer);
                self.carry_out();
            }
            Err(error) => {
                (self.log)(format_args!(
                    "client {client} makes no sense and is dropped: {error}"
                ));
                self.forget(client);
            }
        }
    }

    /// A client that does not take its answer is dropped: nothing waits for it.
    fn answer(&mut self, client: u32, answer: Result<(Reply, Vec<OwnedFd>), failure::Failure>) {
        let Some(it) = self.clients.get(&client) else {
            return;
        };
        let (reply, fds) = answer.unwrap_or_else(|failure| {
            (
                Reply::Failed {
                    errno: failure.errno,
                    why: failure.why,
                },
                Vec::new(),
            )
        });
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        if let Err(error) = socket::send(it.socket.as_fd(), &encode(&reply), &fds, true) {
            (self.log)(format_args!(
                "client {client} takes no answer and is dropped: {error}"
            ));
            self.forget(client);
        }
    }

    /// A client's connection ended or its process died, whichever is noticed first.
    fn forget(&mut self, client: u32) {
        let Some(gone) = self.clients.remove(&client) else {
            return;
        };
        for conn in gone.stores {
            self.stores.close(conn);
        }
        self.hypervisor.departed(client);
        self.carry_out();
        if std::mem::take(&mut self.starved) {
            self.accept_clients();
            self.accept_stores();
        }
    }

    fn carry_out(&mut self) {
        for effect in self.hypervisor.take_effects() {
            match effect {
                Effect::Introduce(domid) => self.stores.introduce(&self.poll, domid),
                Effect::Release(domid) => self.stores.release(&self.poll, domid),
                Effect::Store {
                    client,
                    domid,
                    stream,
                } => {
                    self.add_store(client, domid, stream);
                }
                Effect::Disconnect(client) => self.forget(client),
                Effect::Stop => self.stopped = true,
            }
        }
    }

    fn add_store(&mut self, client: u32, domid: DomId, stream: UnixStream) {
        // The call that asked for it may have failed after all, and its client be gone.
        let Some(it) = self.clients.get_mut(&client) else {
            return;
        };
        match self.stores.add(&self.poll, stream, domid) {
            Ok(conn) => it.stores.push(conn),
            Err(error) => (self.log)(format_args!("client {client} has no xenstore: {error}")),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for name in [HOST_SOCKET, STORE_SOCKET] {
            if let Err(error) = fs::remove_file(self.dir.join(name)) {
                (self.log)(format_args!("removing {name}: {error}"));
            }
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

/// Whether accepting may be tried again at once.
fn passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
    )
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
