//! The end of guests and of a world, and what must not be left.
//!
//! Invariant: what a guest saw of its disks is judged exactly once.

use abi::DomId;

use super::World;
use crate::world::guest::Guest;

impl World {
    pub(super) fn end_guests(&mut self) -> Result<(), String> {
        for at in self.living().collect::<Vec<_>>() {
            let guest = self.guests[at].as_ref();
            let lent = guest.map_or(0, Guest::grants_lent);
            if lent > 0 {
                return Err(format!(
                    "guest {at}: {lent} grants are lent after every disk is gone"
                ));
            }
            self.end_guest(at)?;
        }
        Ok(())
    }

    /// A guest stops existing; what it saw of its disks is judged.
    pub(super) fn end_guest(&mut self, at: usize) -> Result<(), String> {
        self.trace.note("end", &[at as u64]);
        let Some(mut guest) = self.guests[at].take() else {
            return Ok(());
        };
        let domid: DomId = guest.domid;
        guest.lose_everything();
        guest.leave(&self.host);
        self.host
            .destroy(domid)
            .map_err(|error| error.to_string())?;
        self.tool.forget(domid);
        let remove = self.plans[at].remove().map_err(|bad| bad.to_string())?;
        self.tool
            .write(&self.host, remove)
            .map_err(|error| format!("removing {domid}: {error}"))?;
        self.tally.requests += guest
            .judge(self.errors[at])
            .map_err(|why| format!("guest {at}: {why}"))?;
        self.plans[at].keep_models(guest);
        Ok(())
    }

    /// What is left when everybody has gone, and what the drives hold.
    pub(super) fn audit(&mut self) -> Result<(), String> {
        let domains = self.host.list().map_err(|error| error.to_string())?;
        if let Some(domain) = domains.first() {
            let (domid, mapped) = (domain.domid, domain.mapped);
            return Err(format!(
                "domain {domid} still exists, {mapped} of its pages mapped"
            ));
        }
        for (at, plan) in self.plans.iter_mut().enumerate() {
            plan.check_drives(&self.drives)
                .map_err(|why| format!("guest {at}: {why}"))?;
        }
        Ok(())
    }
}
