//! Calls about event channels: who means which array when it names a domain.
//!
//! It knows nothing of events. Invariant: as [`super::super::arrays`] says.

use abi::event_channel::status;
use abi::{DomId, Port};

use super::{Answer, Hypervisor, Role};
use crate::live::host::array::PortState;
use crate::live::host::failure::Failure;
use crate::live::layout::Link;
use crate::live::wire::Reply;

impl Hypervisor {
    pub(super) fn alloc_unbound(&mut self, role: Role, remote: DomId) -> Result<Answer, Failure> {
        if remote >= DomId::FIRST_RESERVED {
            return Err(Failure::no_domain(remote.0));
        }
        let port = self.arrays.alloc_unbound(role.array()?, remote)?;
        Ok((Reply::Port { port: port.0 }, Vec::new()))
    }

    pub(super) fn bind(
        &mut self,
        role: Role,
        remote: DomId,
        port: Port,
    ) -> Result<Answer, Failure> {
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
    pub(super) fn array_of(
        &mut self,
        role: Role,
        remote: DomId,
        port: Port,
    ) -> Result<u32, Failure> {
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

    pub(super) fn status(&self, role: Role, port: Port) -> Result<Answer, Failure> {
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

    /// Ports that the backends of a domain have open.
    pub(crate) fn backend_ports(&self, domid: DomId) -> usize {
        let domain = self.domains.get(&domid);
        let backends = domain.into_iter().flat_map(|domain| &domain.backends);
        let arrays = backends.filter_map(|array| self.arrays.get(*array).ok());
        arrays.map(|array| array.open_ports().count()).sum()
    }

    pub(super) fn peer(&self, role: Role, port: Port) -> Result<Answer, Failure> {
        let peer = self.arrays.peer(role.array()?, port)?;
        let (link, fds) = peer.map_or((0, Vec::new()), |(link, fds)| (Link::encode(link), fds));
        Ok((Reply::Peer { link }, fds))
    }
}
