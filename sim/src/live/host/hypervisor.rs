//! The calls that clients make, and what happens when a client dies: Xen's part of the host.
//!
//! It owns no socket that is waited for: what has to happen outside of it comes out as
//! [`Effect`]s, in order. It knows nothing of xenstore but that it must be told.
//!
//! Invariant: a call either happens completely or changes nothing; no call panics whatever it
//! asks for.

use std::collections::BTreeMap;
use std::mem::take;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use abi::{DomId, Port};

use super::arrays::Arrays;
use super::domain::{Domain, Mapping};
use super::failure::Failure;
use crate::live::wire::{Reply, Request};

mod channels;
mod domains;
mod maps;

/// Something for the process around the hypervisor to do.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Xenstore shall know the domain.
    Introduce(DomId),
    /// Xenstore shall forget the domain and tell who watches for that.
    Release(DomId),
    /// A xenstore connection of a client, with these rights.
    Store {
        client: u32,
        domid: DomId,
        stream: UnixStream,
    },
    /// The client's connection ends.
    Disconnect(u32),
    /// The host ends.
    Stop,
}

/// An answer and the descriptors that go with it.
type Answer = (Reply, Vec<OwnedFd>);

/// All domains and clients.
#[derive(Debug)]
pub(crate) struct Hypervisor {
    domains: BTreeMap<DomId, Domain>,
    arrays: Arrays,
    clients: BTreeMap<u32, Client>,
    effects: Vec<Effect>,
    next_domid: u16,
    next_handle: u64,
}

/// A connection, and the process at its other end.
#[derive(Debug)]
struct Client {
    pid: u32,
    role: Role,
    mappings: BTreeMap<u64, Mapping>,
}

/// What a connection has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// A toolstack, or nothing yet.
    Control,
    /// The guest of a domain.
    Guest { domid: DomId, array: u32 },
    /// A backend for a domain.
    Backend { domid: DomId, array: u32 },
}

impl Hypervisor {
    pub(crate) fn new() -> Self {
        Self {
            domains: BTreeMap::new(),
            arrays: Arrays::default(),
            clients: BTreeMap::new(),
            effects: Vec::new(),
            next_domid: 1,
            next_handle: 1,
        }
    }

    /// A connection was made.
    pub(crate) fn arrived(&mut self, client: u32, pid: u32) {
        self.clients.insert(
            client,
            Client {
                pid,
                role: Role::Control,
                mappings: BTreeMap::new(),
            },
        );
    }

    /// What has to happen since the last time this was asked.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        take(&mut self.effects)
    }

    /// Carries out one call.
    pub(crate) fn call(&mut self, client: u32, request: Request) -> Result<Answer, Failure> {
        let role = self
            .clients
            .get(&client)
            .map_or(Role::Control, |it| it.role);
        match request {
            Request::Create(new) => self.create(new),
            Request::List { from } => Ok((self.list(from), Vec::new())),
            Request::Destroy { domid } => self.destroy(DomId(domid)),
            Request::Stop => {
                self.effects.push(Effect::Stop);
                Ok((Reply::Done, Vec::new()))
            }
            Request::AttachGuest { domid } => self.attach_guest(client, role, DomId(domid)),
            Request::AttachBackend { domid } => self.attach_backend(client, role, DomId(domid)),
            Request::AllocUnbound { remote } => self.alloc_unbound(role, DomId(remote)),
            Request::BindInterdomain {
                remote,
                remote_port,
            } => self.bind(role, DomId(remote), Port(remote_port)),
            Request::Close { port } => {
                self.arrays.close(role.array()?, Port(port))?;
                Ok((Reply::Done, Vec::new()))
            }
            Request::Status { port } => self.status(role, Port(port)),
            Request::Peer { port } => self.peer(role, Port(port)),
            Request::Map {
                domid,
                grefs,
                writable,
            } => self.map(client, role, DomId(domid), &grefs, writable),
            Request::Unmap { handle } => self.unmap(client, handle),
        }
    }

    /// A connection ended, or the process behind it died: what Xen and Linux would do follows.
    pub(crate) fn departed(&mut self, client: u32) {
        let Some(gone) = self.clients.remove(&client) else {
            return;
        };
        for mapping in gone.mappings.values() {
            self.release_mapping(mapping);
        }
        match gone.role {
            Role::Control => {}
            Role::Guest { domid, .. } => self.guest_died(domid),
            Role::Backend { domid, array } => {
                self.arrays.remove(array);
                if let Some(domain) = self.domains.get_mut(&domid) {
                    domain.backends.retain(|&it| it != array);
                }
            }
        }
    }
}

impl Role {
    /// The event array of a guest or a backend.
    fn array(self) -> Result<u32, Failure> {
        match self {
            Self::Control => Err(not_permitted()),
            Self::Guest { array, .. } | Self::Backend { array, .. } => Ok(array),
        }
    }

    /// Whether a connection may still become a guest or a backend.
    fn undecided(self) -> Result<(), Failure> {
        match self {
            Self::Control => Ok(()),
            _ => Err(Failure::new(
                libc::EBUSY,
                "this connection is attached already",
            )),
        }
    }
}

fn not_permitted() -> Failure {
    Failure::new(libc::EPERM, "not a call for this kind of client")
}

fn unknown() -> Failure {
    Failure::new(libc::ESRCH, "the caller is gone")
}
