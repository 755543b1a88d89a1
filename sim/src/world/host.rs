//! The hypervisor and xenstored of a world: the live host's own code, called directly.
//!
//! Guests and backends attach exactly as they do live; a call is a function call, an upcall is
//! still an eventfd, which the driver of the world looks at. Xenstore connections carry the wire
//! protocol, and the driver decides when bytes move.
//!
//! Invariant: nothing happens here but within a call.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use abi::DomId;
use xen::Platform;
use xenstore::Server;
use xenstore::server::ConnId;

use crate::live::client::Connection;
use crate::live::host::failure::Failure;
use crate::live::host::hypervisor::{Effect, Hypervisor};
use crate::live::wire::{Reply, Request};
use crate::live::{Control, DomainInfo, Error, Guest, NewDomain, Price, attach};

/// See the head of this file. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Host {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    hypervisor: Hypervisor,
    server: Server,
    last_client: u32,
}

/// A client of the host, as Xen and Linux would know its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId(u32);

/// A backend that attached.
pub struct Backend {
    /// Grants and event channels.
    pub platform: Platform,
    /// Readable when an event is pending.
    pub upcall: OwnedFd,
    /// For [`Host::kill`].
    pub client: ClientId,
}

impl Host {
    /// A host without guests.
    pub fn new() -> Self {
        let state = State {
            hypervisor: Hypervisor::new(),
            server: Server::new(),
            last_client: 0,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Creates a domain and makes it known to xenstore.
    pub fn create(&self, domain: &NewDomain) -> Result<DomId, Error> {
        self.control().create(domain)
    }

    /// Destroys a domain: its guest is dead from now on.
    pub fn destroy(&self, domid: DomId) -> Result<(), Error> {
        self.control().destroy(domid)
    }

    /// All domains, dying ones included.
    pub fn list(&self) -> Result<Vec<DomainInfo>, Error> {
        self.control().list()
    }

    /// Ports that backends of a domain have and have not closed.
    pub fn backend_ports(&self, domid: DomId) -> usize {
        self.lock().hypervisor.backend_ports(domid)
    }

    /// Attaches as the guest of a domain.
    pub fn attach_guest(&self, domid: DomId) -> Result<Guest, Error> {
        let (connection, _) = self.connection();
        attach::guest(Arc::new(connection), domid, Price::FREE)
    }

    /// Attaches as a backend that serves a domain.
    pub fn attach_backend(&self, domid: DomId) -> Result<Backend, Error> {
        let (connection, client) = self.connection();
        let attached = attach::backend(Arc::new(connection), domid, Price::FREE)?;
        let upcall = attached.events.descriptor();
        let upcall = upcall.map_err(Error::os("duplicating the event descriptor"))?;
        let platform = Platform {
            domid: DomId::DOM0,
            grants: Box::new(attached.grants),
            events: Box::new(attached.events),
        };
        Ok(Backend {
            platform,
            upcall,
            client,
        })
    }

    /// A process is gone: what it held is undone.
    pub fn kill(&self, client: ClientId) {
        let mut state = self.lock();
        state.hypervisor.departed(client.0);
        state.settle();
    }

    /// A xenstore connection with the rights of `domid`.
    pub fn store(&self, domid: DomId) -> ConnId {
        self.lock().server.connect(domid)
    }

    /// Bytes that a client sent to xenstore.
    pub fn store_input(&self, conn: ConnId, bytes: &[u8]) {
        self.lock().server.input(conn, bytes);
    }

    /// Bytes that xenstore has for a client.
    pub fn store_output(&self, conn: ConnId) -> Vec<u8> {
        self.lock().server.output(conn)
    }

    /// The end of a xenstore connection.
    pub fn store_close(&self, conn: ConnId) {
        self.lock().server.disconnect(conn);
    }

    /// One call of a client, as the host process answers it.
    pub(crate) fn call(
        &self,
        client: u32,
        request: Request,
    ) -> Result<(Reply, Vec<OwnedFd>), Error> {
        let mut state = self.lock();
        let answer = state.hypervisor.call(client, request);
        state.settle();
        answer.map_err(|Failure { errno, why }| Error::Refused { errno, why })
    }

    fn control(&self) -> Control {
        Control::over(self.connection().0)
    }

    /// A new client's connection.
    fn connection(&self) -> (Connection, ClientId) {
        let mut state = self.lock();
        state.last_client += 1;
        let client = state.last_client;
        state.hypervisor.arrived(client, 0);
        (Connection::direct(self.clone(), client), ClientId(client))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// Does what calls left to do outside of the hypervisor.
    fn settle(&mut self) {
        loop {
            let effects = self.hypervisor.take_effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Introduce(domid) => self.server.introduce(domid),
                    Effect::Release(domid) => self.server.release(domid),
                    Effect::Disconnect(client) => self.hypervisor.departed(client),
                    // In a world, xenstore connections are made with `Host::store`.
                    Effect::Store { .. } | Effect::Stop => {}
                }
            }
        }
    }
}
