//! Calls about domains: creating and destroying them, attaching their guests and backends.
//!
//! It knows nothing of what attached clients do. Invariant: a domain has one guest in its life, and
//! goes when it was destroyed and nothing of it is mapped.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use abi::DomId;

use super::{Answer, Effect, Hypervisor, Role, unknown};
use crate::live::host::array::{BACKEND_PORTS, GUEST_PORTS};
use crate::live::host::domain::{Domain, Guest, judge};
use crate::live::host::failure::Failure;
use crate::live::wire::{LIST_MAX, NewDomain, Reply};

impl Hypervisor {
    pub(super) fn create(&mut self, new: NewDomain) -> Result<Answer, Failure> {
        judge(&new)?;
        let domid = DomId(self.next_domid);
        if domid >= DomId::FIRST_RESERVED {
            return Err(Failure::new(libc::ENOSPC, "no domain numbers left"));
        }
        let array = self.arrays.create(domid, GUEST_PORTS)?;
        let grants = self.arrays.get(array)?.grants().clone();
        match Domain::create(new, array, &grants) {
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

    pub(super) fn list(&self, from: u16) -> Reply {
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

    pub(super) fn destroy(&mut self, domid: DomId) -> Result<Answer, Failure> {
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

    pub(super) fn attach_guest(
        &mut self,
        client: u32,
        role: Role,
        domid: DomId,
    ) -> Result<Answer, Failure> {
        role.undecided()?;
        let domain = self.living(domid)?;
        if domain.guest != Guest::Absent {
            let why = format_args!("domain {domid} has its guest already");
            return Err(Failure::new(libc::EBUSY, why));
        }
        let (array, memory) = (domain.array, domain.memory.try_clone_fd()?);
        let mut fds = self.arrays.get(array)?.descriptors()?;
        fds.extend([self.open_store(client, domid)?, memory]);
        let it = self.clients.get_mut(&client).ok_or_else(unknown)?;
        it.role = Role::Guest { domid, array };
        let pid = it.pid;
        self.living(domid)?.guest = Guest::Attached { client, pid };
        Ok((Reply::Attached { array }, fds))
    }

    pub(super) fn attach_backend(
        &mut self,
        client: u32,
        role: Role,
        domid: DomId,
    ) -> Result<Answer, Failure> {
        role.undecided()?;
        let domain = self.living(domid)?;
        let (guest, memory) = (domain.array, domain.memory.try_clone_fd()?);
        let table = self.arrays.get(guest)?.descriptors()?.swap_remove(0);
        let array = self.arrays.create(DomId::DOM0, BACKEND_PORTS)?;
        let opened = self.arrays.get(array).and_then(|it| Ok(it.descriptors()?));
        let mut fds = opened.inspect_err(|_| self.arrays.remove(array))?;
        let store = self.open_store(client, DomId::DOM0);
        fds.push(store.inspect_err(|_| self.arrays.remove(array))?);
        fds.extend([memory, table]);
        if let Some(it) = self.clients.get_mut(&client) {
            it.role = Role::Backend { domid, array };
        }
        self.living(domid)?.backends.push(array);
        Ok((Reply::Attached { array }, fds))
    }

    /// A xenstore connection for a client: our end goes to the store, the other one is returned.
    pub(super) fn open_store(&mut self, client: u32, domid: DomId) -> Result<OwnedFd, Failure> {
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

    /// The domain is dying from now on; whoever watches for that is told.
    pub(super) fn guest_died(&mut self, domid: DomId) {
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
    pub(super) fn bury(&mut self, domid: DomId) {
        let over = |domain: &Domain| domain.is_over() && domain.guest == Guest::Dead;
        if self.domains.get(&domid).is_some_and(over) {
            self.domains.remove(&domid);
        }
    }

    pub(super) fn living(&mut self, domid: DomId) -> Result<&mut Domain, Failure> {
        let domain = self
            .domains
            .get_mut(&domid)
            .filter(|domain| !domain.is_dying());
        domain.ok_or(Failure::no_domain(domid.0))
    }
}
