//! Which grants of a domain are mapped, and how often: what Xen keeps in its active entries.
//!
//! It knows nothing of who maps: the host process keeps that, and unpins for the dead.
//!
//! Invariant: an entry carries an in-use bit exactly while a pin needs it, unless its owner
//! scribbles over its own table.

use std::collections::HashMap;

use abi::grant_table::gtf;
use abi::{DomId, Gfn, GrantRef};
use xen::{Access, GrantStatus};

use super::Entries;

/// The pins on one domain's entries.
#[derive(Debug, Default)]
pub struct Pins {
    held: HashMap<GrantRef, Count>,
}

#[derive(Debug, Default)]
struct Count {
    read_only: u32,
    read_write: u32,
}

impl Pins {
    /// Checks an entry for `mapper` and keeps its owner from ending it until [`Pins::unpin`].
    pub fn pin(
        &mut self,
        entries: &Entries,
        mapper: DomId,
        gref: GrantRef,
        access: Access,
    ) -> Result<Gfn, GrantStatus> {
        let gfn = entries.pin(mapper, gref, access)?;
        let count = self.held.entry(gref).or_default().of(access);
        *count = count.saturating_add(1);
        Ok(gfn)
    }

    /// Undoes one [`Pins::pin`] of the same access.
    pub fn unpin(&mut self, entries: &Entries, gref: GrantRef, access: Access) {
        let Some(held) = self.held.get_mut(&gref) else {
            debug_assert!(false, "grant {gref} is not pinned");
            return;
        };
        let count = held.of(access);
        *count = count.saturating_sub(1);
        let idle = held.idle_bits();
        entries.clear(gref, idle);
        if idle == super::IN_USE {
            self.held.remove(&gref);
        }
    }

    /// Whether nothing is pinned.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

impl Count {
    fn of(&mut self, access: Access) -> &mut u32 {
        match access {
            Access::ReadOnly => &mut self.read_only,
            Access::ReadWrite => &mut self.read_write,
        }
    }

    /// The in-use bits that no pin needs.
    fn idle_bits(&self) -> u32 {
        match (self.read_only, self.read_write) {
            (0, 0) => super::IN_USE,
            (_, 0) => gtf::WRITING.into(),
            _ => 0,
        }
    }
}
