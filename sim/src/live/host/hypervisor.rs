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

use abi::event_channel::status;
use abi::{DomId, Port};

use super::array::{BACKEND_PORTS, GUEST_PORTS, PortState};
use super::arrays::Arrays;
use super::domain::{Domain, Guest, MapRefused, Mapping, judge};
use super::failure::Failure;
use crate::live::layout::Link;
use crate::live::wire::{LIST_MAX, MAP_MAX, NewDomain, Reply, Request};

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
            Request::Stop => self.stop(),
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

    fn create(&mut self, new: NewDomain) -> Result<Answer, Failure> {
        judge(&new)?;
        let domid = DomId(self.next_domid);
        if domid >= DomId::FIRST_RESERVED {
            return Err(Failure::new(libc::ENOSPC, "no domain numbers left"));
        }
        let array = self.arrays.create(domid, GUEST_PORTS)?;
        let window = self.arrays.get(array)?.window().clone();
        match Domain::create(new, array, &window) {
            Ok(domain) => self.domains.insert(domid, domain),
            Err(error) => {
                self.arrays.remove(array);
                return Err(error.into());
            }
        };
        self.next_domid += 1;
        self.effects.push(Effect::Introduce(domid));
        Ok((Reply::Created { domid: domid.0 }, Vec::new()))
    }

    fn list(&self, from: u16) -> Reply {
        let domains = self.domains.range(DomId(from)..).take(LIST_MAX);
        let info = |(domid, domain): (&DomId, &Domain)| {
            let ports = self
                .arrays
                .get(domain.array)
                .map_or(0, |it| it.open_ports().count());
            domain.info(*domid, ports)
        };
        Reply::Domains(domains.map(info).collect())
    }

    fn destroy(&mut self, domid: DomId) -> Result<Answer, Failure> {
        let domain = self
            .domains
            .get_mut(&domid)
            .ok_or(Failure::no_domain(domid.0))?;
        domain.destroyed = true;
        match domain.guest {
            Guest::Attached { client, .. } => self.effects.push(Effect::Disconnect(client)),
            Guest::Absent => self.guest_died(domid),
            Guest::Dead => {}
        }
        self.bury(domid);
        Ok((Reply::Done, Vec::new()))
    }

    fn stop(&mut self) -> Result<Answer, Failure> {
        self.effects.push(Effect::Stop);
        Ok((Reply::Done, Vec::new()))
    }

    fn attach_guest(&mut self, client: u32, role: Role, domid: DomId) -> Result<Answer, Failure> {
        role.undecided()?;
        let domain = self.living(domid)?;
        if domain.guest != Guest::Absent {
            let why = format_args!("domain {domid} has its guest already");
            return Err(Failure::new(libc::EBUSY, why));
        }
        let (array, memory) = (domain.array, domain.memory.try_clone_fd()?);
        let mut fds = self.arrays.get(array)?.descriptors()?;
        fds.extend([self.open_store(client, domid)?, memory]);
        let Some(it) = self.clients.get_mut(&client) else {
            return Err(unknown());
        };
        it.role = Role::Guest { domid, array };
        let pid = it.pid;
        self.living(domid)?.guest = Guest::Attached { client, pid };
        Ok((Reply::Attached { array }, fds))
    }

    fn attach_backend(&mut self, client: u32, role: Role, domid: DomId) -> Result<Answer, Failure> {
        role.undecided()?;
        let domain = self.living(domid)?;
        let (guest, memory) = (domain.array, domain.memory.try_clone_fd()?);
        let table = self.arrays.get(guest)?.descriptors()?.swap_remove(0);
        let store = self.open_store(client, DomId::DOM0)?;
        let array = self.arrays.create(DomId::DOM0, BACKEND_PORTS)?;
        let mut fds = self.arrays.get(array)?.descriptors()?;
        fds.extend([store, memory, table]);
        let Some(it) = self.clients.get_mut(&client) else {
            return Err(unknown());
        };
        it.role = Role::Backend { domid, array };
        self.living(domid)?.backends.push(array);
        Ok((Reply::Attached { array }, fds))
    }

    /// A xenstore connection for a client: our end goes to the store, the other one is returned.
    fn open_store(&mut self, client: u32, domid: DomId) -> Result<OwnedFd, Failure> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        self.effects.push(Effect::Store {
            client,
            domid,
            stream: ours,
        });
        Ok(theirs.into())
    }

    fn alloc_unbound(&mut self, role: Role, remote: DomId) -> Result<Answer, Failure> {
        if remote >= DomId::FIRST_RESERVED {
            return Err(Failure::no_domain(remote.0));
        }
        let port = self.arrays.alloc_unbound(role.array()?, remote)?;
        Ok((Reply::Port { port: port.0 }, Vec::new()))
    }

    fn bind(&mut self, role: Role, remote: DomId, port: Port) -> Result<Answer, Failure> {
        let array = role.array()?;
        let there = self.array_of(role, remote, port)?;
        let bound = self.arrays.bind(array, there, port)?;
        let reply = Reply::Bound {
            port: bound.port.0,
            link: bound.link.encode(),
        };
        Ok((reply, bound.fds))
    }

    /// Which event array `remote` means. Every backend is domain 0, so a guest that binds to
    /// domain 0 means the one of its own backends where that port waits for it.
    fn array_of(&mut self, role: Role, remote: DomId, port: Port) -> Result<u32, Failure> {
        let Role::Guest { domid, .. } = role else {
            return Ok(self.living(remote)?.array);
        };
        if remote != DomId::DOM0 {
            return Ok(self.living(remote)?.array);
        }
        let backends = self.living(domid)?.backends.clone();
        let waiting = backends
            .into_iter()
            .find(|&it| self.arrays.waits_for(it, port, domid));
        waiting.ok_or(Failure::no_port(port.0))
    }

    fn status(&self, role: Role, port: Port) -> Result<Answer, Failure> {
        let (status, remote, remote_port) = match self.arrays.get(role.array()?)?.get(port) {
            PortState::Closed => (status::CLOSED, DomId(0), Port(0)),
            PortState::Unbound(remote) => (status::UNBOUND, remote, Port(0)),
            PortState::Interdomain(remote, link) => (status::INTERDOMAIN, remote, link.port),
        };
        let reply = Reply::Status {
            status,
            remote: remote.0,
            remote_port: remote_port.0,
        };
        Ok((reply, Vec::new()))
    }

    fn peer(&self, role: Role, port: Port) -> Result<Answer, Failure> {
        let peer = self.arrays.peer(role.array()?, port)?;
        let (link, fds) = peer.map_or((0, Vec::new()), |(link, fds)| (Link::encode(link), fds));
        Ok((Reply::Peer { link }, fds))
    }

    fn map(
        &mut self,
        client: u32,
        role: Role,
        domid: DomId,
        grefs: &[u32],
        writable: bool,
    ) -> Result<Answer, Failure> {
        let first = grefs.first().filter(|_| grefs.len() <= MAP_MAX);
        let first = *first.ok_or(Failure::new(libc::EINVAL, "too many grants, or none"))?;
        let Role::Backend { domid: own, .. } = role else {
            return Err(not_permitted());
        };
        let mapped = match self.domains.get_mut(&domid) {
            Some(domain) if domid == own => domain.map(domid, grefs, writable),
            _ => Err(MapRefused::bad_domain(first)),
        };
        let reply = match mapped {
            Err(refused) => Reply::Refused {
                gref: refused.gref.0,
                status: refused.status.0,
            },
            Ok((mapping, gfns)) => {
                let handle = self.next_handle;
                self.next_handle += 1;
                if let Some(client) = self.clients.get_mut(&client) {
                    client.mappings.insert(handle, mapping);
                }
                Reply::Mapped {
                    handle,
                    gfns: gfns.into_iter().map(|gfn| gfn.0).collect(),
                }
            }
        };
        Ok((reply, Vec::new()))
    }

    fn unmap(&mut self, client: u32, handle: u64) -> Result<Answer, Failure> {
        let mapping = self
            .clients
            .get_mut(&client)
            .and_then(|it| it.mappings.remove(&handle));
        let mapping = mapping.ok_or(Failure::new(libc::EINVAL, "no such mapping"))?;
        self.release_mapping(&mapping);
        Ok((Reply::Done, Vec::new()))
    }

    fn release_mapping(&mut self, mapping: &Mapping) {
        if let Some(domain) = self.domains.get_mut(&mapping.domid) {
            domain.unmap(mapping);
        }
        self.bury(mapping.domid);
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

    /// The domain is dying from now on; whoever watches for that is told.
    fn guest_died(&mut self, domid: DomId) {
        let Some(domain) = self.domains.get_mut(&domid) else {
            return;
        };
        domain.guest = Guest::Dead;
        let array = domain.array;
        self.arrays.remove(array);
        self.effects.push(Effect::Release(domid));
        self.bury(domid);
    }

    /// Forgets a domain that was destroyed and of which nothing is mapped any more.
    fn bury(&mut self, domid: DomId) {
        let over = |domain: &Domain| domain.is_over() && domain.guest == Guest::Dead;
        if self.domains.get(&domid).is_some_and(over) {
            self.domains.remove(&domid);
        }
    }

    fn living(&mut self, domid: DomId) -> Result<&mut Domain, Failure> {
        let domain = self
            .domains
            .get_mut(&domid)
            .filter(|domain| !domain.is_dying());
        domain.ok_or(Failure::no_domain(domid.0))
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
