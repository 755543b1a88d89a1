//! Xenstore connections: bytes between sockets and the in-memory server.
//!
//! It knows nothing of what the bytes mean, and waits for nothing: it is told when a socket is
//! ready, and says what it wants to be told next.
//!
//! Invariant: output is fetched from the server only when all earlier output has been sent, so
//! that what waits for a slow client waits in the server, which bounds it.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use abi::DomId;
use xenstore::Server;
use xenstore::server::ConnId;

use super::poll::{Poll, Token, Wish};

/// Bytes read from a connection at a time.
const READ_MAX: usize = 16 * 1024;

/// The store, and everybody connected to it.
#[derive(Debug)]
pub(super) struct Stores {
    server: Server,
    open: HashMap<ConnId, Connection>,
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    /// Fetched from the server, and how much of it is sent.
    output: Vec<u8>,
    sent: usize,
    /// What the poll was last told.
    wish: Wish,
}

impl Stores {
    pub(super) fn new() -> Self {
        Self {
            server: Server::new(),
            open: HashMap::new(),
        }
    }

    /// Takes over a non-blocking connection with the rights of `domid`.
    pub(super) fn add(
        &mut self,
        poll: &Poll,
        stream: UnixStream,
        domid: DomId,
    ) -> io::Result<ConnId> {
        let conn = self.server.connect(domid);
        let wish = Wish::READ;
        if let Err(error) = poll.add(stream.as_raw_fd(), Token::Store(conn.0), wish) {
            self.server.disconnect(conn);
            return Err(error);
        }
        let output = Vec::new();
        self.open.insert(
            conn,
            Connection {
                stream,
                output,
                sent: 0,
                wish,
            },
        );
        Ok(conn)
    }

    /// A domain appeared.
    pub(super) fn introduce(&mut self, poll: &Poll, domid: DomId) {
        self.server.introduce(domid);
        self.flush(poll);
    }

    /// A domain died.
    pub(super) fn release(&mut self, poll: &Poll, domid: DomId) {
        self.server.release(domid);
        self.flush(poll);
    }

    /// A connection is ready, for whatever it was waiting.
    pub(super) fn ready(&mut self, poll: &Poll, conn: ConnId) {
        let Some(connection) = self.open.get_mut(&conn) else {
            return;
        };
        if connection.wish.reads() {
            let mut buffer = [0; READ_MAX];
            match connection.stream.read(&mut buffer) {
                Ok(0) => return self.close(conn),
                Ok(n) => self.server.input(conn, &buffer[..n]),
                Err(error) if transient(error.kind()) => {}
                Err(_) => return self.close(conn),
            }
        }
        self.send(poll, conn);
        self.flush(poll);
    }

    /// Sends what the server has for anybody.
    ///
    /// Making room for one connection's replies serves what waited for it, which may concern others:
    /// so again, until nobody is left.
    fn flush(&mut self, poll: &Poll) {
        loop {
            let ready = self.server.take_ready();
            if ready.is_empty() {
                return;
            }
            for conn in ready {
                self.send(poll, conn);
            }
        }
    }

    /// Sends what the server has for one connection, as far as its socket takes it.
    fn send(&mut self, poll: &Poll, conn: ConnId) {
        let Some(connection) = self.open.get_mut(&conn) else {
            return;
        };
        if !connection.send(|| self.server.output(conn)) || !self.server.is_open(conn) {
            return self.close(conn);
        }
        let wish = Wish::new(self.server.wants_input(conn), connection.is_blocked());
        if connection.wish != wish {
            connection.wish = wish;
            let told = poll.change(connection.stream.as_raw_fd(), Token::Store(conn.0), wish);
            if told.is_err() {
                self.close(conn);
            }
        }
    }

    /// Ends a connection, if it is open.
    pub(super) fn close(&mut self, conn: ConnId) {
        self.server.disconnect(conn);
        self.open.remove(&conn);
    }
}

impl Connection {
    fn is_blocked(&self) -> bool {
        self.sent < self.output.len()
    }

    /// Sends until there is nothing more, or no room; false if the peer is gone.
    fn send(&mut self, mut fetch: impl FnMut() -> Vec<u8>) -> bool {
        loop {
            if !self.is_blocked() {
                (self.output, self.sent) = (fetch(), 0);
            }
            if !self.is_blocked() {
                return true;
            }
            match self.stream.write(&self.output[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }
}

fn transient(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
