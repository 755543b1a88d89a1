//! The in-memory xenstored that the simulated host runs, sans-IO.

use abi::DomId;

/// One connection to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// The store and everybody connected to it.
#[derive(Debug, Default)]
pub struct Server {}

impl Server {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a connection with the rights of `domid`; domain 0 may do everything.
    pub fn connect(&mut self, domid: DomId) -> ConnId {
        let _ = domid;
        ConnId(0)
    }

    /// Takes bytes from a connection and carries out every complete request among them.
    pub fn input(&mut self, conn: ConnId, bytes: &[u8]) {
        let _ = (conn, bytes);
    }

    /// Everything that waits to be sent on a connection. Call it only when the bytes can be sent:
    /// what stays here is bounded and merged, what has been fetched is the caller's.
    pub fn output(&mut self, conn: ConnId) -> Vec<u8> {
        let _ = conn;
        Vec::new()
    }

    /// Connections that have got output, or have been closed, since the last call.
    pub fn take_ready(&mut self) -> Vec<ConnId> {
        Vec::new()
    }

    /// Whether the connection is open. The server closes it on a protocol violation, and when an
    /// unprivileged client does not fetch its output; its socket has to be closed then.
    pub fn is_open(&self, conn: ConnId) -> bool {
        let _ = conn;
        false
    }

    /// Whether more input is welcome: false while too much output waits to be fetched.
    pub fn wants_input(&self, conn: ConnId) -> bool {
        let _ = conn;
        false
    }

    /// Closes a connection: its watches and transactions are gone.
    pub fn disconnect(&mut self, conn: ConnId) {
        let _ = conn;
    }

    /// Makes a domain known and fires `@introduceDomain`.
    pub fn introduce(&mut self, domid: DomId) {
        let _ = domid;
    }

    /// A domain is gone: closes its connections, fires `@releaseDomain`.
    pub fn release(&mut self, domid: DomId) {
        let _ = domid;
    }
}
