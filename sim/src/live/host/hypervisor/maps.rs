//! Calls about mapped grants: which client holds which pins.
//!
//! It knows nothing of the pages. Invariant: what is pinned stands in exactly one client's list.

use abi::DomId;

use super::{Answer, Hypervisor, Role, not_permitted};
use crate::live::host::domain::{MapRefused, Mapping};
use crate::live::host::failure::Failure;
use crate::live::wire::{MAP_MAX, Reply};

impl Hypervisor {
    pub(super) fn map(
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

    pub(super) fn unmap(&mut self, client: u32, handle: u64) -> Result<Answer, Failure> {
        let mapping = self
            .clients
            .get_mut(&client)
            .and_then(|it| it.mappings.remove(&handle));
        let mapping = mapping.ok_or(Failure::new(libc::EINVAL, "no such mapping"))?;
        self.release_mapping(&mapping);
        Ok((Reply::Done, Vec::new()))
    }

    pub(super) fn release_mapping(&mut self, mapping: &Mapping) {
        if let Some(domain) = self.domains.get_mut(&mapping.domid) {
            domain.unmap(mapping);
        }
        self.bury(mapping.domid);
    }
}
