//! The in-memory xenstored that the simulated host runs, sans-IO.
//!
//! Bytes of requests go in with a connection's id, bytes of replies and watch events come out. The
//! owner moves them; the server never waits and reads no clock. Rules follow
//! `docs/misc/xenstore.txt`, and where that is silent, Xen's C xenstored.
//!
//! Invariants: what one request costs depends on the depth of its path, on the size of what it
//! names and on the watches set on that path, not on how many domains, nodes or watches others
//! have. No bytes from a domain can panic the server or make it grow beyond that domain's quotas.

mod administration;
mod connection;
mod domains;
mod fire;
mod map;
mod output;
mod quota;
mod requests;
mod session;
mod transaction;
mod tree;
mod watches;

use std::collections::{BTreeMap, BTreeSet};

use abi::DomId;

use crate::wire::{self, Frame, Request};
use connection::{Connection, INPUT_MAX};
use domains::Domains;
use tree::{Node, Tree};
use watches::Watches;

/// One connection to the server. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// The store and everybody connected to it.
#[derive(Debug)]
pub struct Server {
    tree: Tree,
    /// Who may hear of special events; domain 0, unless it says otherwise.
    specials: BTreeMap<&'static str, Node>,
    domains: Domains,
    watches: Watches,
    connections: BTreeMap<ConnId, Connection>,
    ready: BTreeSet<ConnId>,
    last_conn: u64,
    last_tx: u32,
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// A store with nothing but `/`, owned by domain 0.
    pub fn new() -> Self {
        Self {
            tree: Tree::new(),
            specials: fire::specials(),
            domains: Domains::default(),
            watches: Watches::default(),
            connections: BTreeMap::new(),
            ready: BTreeSet::new(),
            last_conn: 0,
            last_tx: 0,
        }
    }

    /// Opens a connection with the rights of `domid`; domain 0 may do everything.
    pub fn connect(&mut self, domid: DomId) -> ConnId {
        self.last_conn = self.last_conn.wrapping_add(1);
        let id = ConnId(self.last_conn);
        self.connections.insert(id, Connection::new(domid));
        self.domains.entry(domid).connections.insert(id);
        id
    }

    /// Takes bytes from a connection, split anywhere, and carries out every complete request
    /// among them, as long as there is room for the replies.
    pub fn input(&mut self, conn: ConnId, bytes: &[u8]) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.input.push(bytes);
            self.serve(conn);
        }
    }

    /// Everything that waits to be sent on a connection. Call it when the bytes can be sent, not
    /// before: what stays here is bounded and merged, what has been fetched is the caller's.
    /// Requests that waited for room are served then, so that this and other connections may
    /// become ready: ask [`Server::take_ready`] again, until there are none.
    pub fn output(&mut self, conn: ConnId) -> Vec<u8> {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return Vec::new();
        };
        let bytes = connection.output.take();
        self.ready.remove(&conn);
        self.serve(conn);
        bytes
    }

    /// Connections that have output to fetch, or were closed by the server, since the last call;
    /// in the order of their ids.
    pub fn take_ready(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.ready).into_iter().collect()
    }

    /// Whether the connection is open. The server closes it on a protocol violation, on the
    /// release of its domain, and when an unprivileged client sends on and on without fetching
    /// replies. Its socket has to be closed then.
    pub fn is_open(&self, conn: ConnId) -> bool {
        self.connections.contains_key(&conn)
    }

    /// Whether more input is welcome: false while too many replies wait to be fetched.
    pub fn wants_input(&self, conn: ConnId) -> bool {
        self.connections
            .get(&conn)
            .is_some_and(|connection| !connection.output.full())
    }

    /// Closes a connection: its watches and transactions are gone. Costs what it has.
    pub fn disconnect(&mut self, conn: ConnId) {
        self.reset(conn);
        if let Some(connection) = self.connections.remove(&conn) {
            self.domains
                .entry(connection.domid)
                .connections
                .remove(&conn);
        }
        self.ready.remove(&conn);
    }

    /// Makes a domain known and fires `@introduceDomain`, unless it is known already.
    pub fn introduce(&mut self, domid: DomId) {
        if !self.domains.introduced(domid) {
            self.domains.entry(domid).introduced = true;
            self.fire_special(fire::INTRODUCE, domid);
        }
    }

    /// A domain is gone: its connections are closed, what it was permitted is void, and
    /// `@releaseDomain` fires, also as `@releaseDomain/<domid>`. Its nodes stay; removing them is
    /// the toolstack's business.
    pub fn release(&mut self, domid: DomId) {
        if domid == DomId::DOM0 {
            return;
        }
        for conn in self.domains.entry(domid).connections.clone() {
            self.close(conn);
        }
        self.domains.release(domid, self.tree.generation);
        self.fire_special(fire::RELEASE, domid);
    }

    /// Nodes in the store.
    pub fn nodes(&self) -> usize {
        self.tree.len()
    }

    /// How many watches were looked at to match changes, since the start: the measure of what a
    /// change costs.
    pub fn watches_examined(&self) -> u64 {
        self.watches.examined
    }

    /// Carries out what a connection has asked for.
    fn serve(&mut self, conn: ConnId) {
        loop {
            let Some(connection) = self.connections.get_mut(&conn) else {
                return;
            };
            if connection.output.full() {
                let greedy = connection.input.buffered() > INPUT_MAX;
                if greedy && connection.domid != DomId::DOM0 {
                    self.close(conn);
                }
                return;
            }
            match connection.input.next_frame() {
                Ok(Some(frame)) => self.answer(conn, &frame),
                Ok(None) => return,
                Err(_) => self.close(conn),
            }
        }
    }

    fn answer(&mut self, conn: ConnId, frame: &Frame) {
        let (req_id, tx_id) = (frame.req_id, frame.tx_id);
        let result = Request::decode(frame.op, &frame.payload)
            .and_then(|request| self.request(conn, tx_id, request));
        if let Some(connection) = self.connections.get_mut(&conn) {
            let out = connection.output.replies();
            match result {
                Ok(payload) => wire::encode(frame.op, req_id, tx_id, &payload, out),
                Err(error) => wire::encode_error(error, req_id, tx_id, out),
            }
            self.ready.insert(conn);
        }
    }

    /// Closes a connection of the server's own accord; its owner learns of it as of output.
    fn close(&mut self, conn: ConnId) {
        self.disconnect(conn);
        self.ready.insert(conn);
    }
}
