//! The guest's side of its grant table: which entries are free, lending a frame, taking it back.
//!
//! It knows nothing of what is lent, and trusts the table no more than a kernel does.
//!
//! Invariant: an entry is on the free list only when nobody may use it any more.

use abi::grant_table::{NR_RESERVED_ENTRIES, gtf};
use abi::{DomId, Gfn, GrantRef};

use super::{CAPACITY, Entries, IN_USE};

/// A grant could not be ended: the other domain still has the page mapped or is copying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("grant {0} is still in use by the other domain")]
pub struct StillInUse(pub GrantRef);

/// The guest's side of a grant table.
#[derive(Debug)]
pub struct Table {
    entries: Entries,
    /// First entry that was never used.
    fresh: u32,
    returned: Vec<GrantRef>,
    lent: usize,
}

impl Table {
    /// Takes charge of an empty table. One guest has one.
    pub fn new(entries: Entries) -> Self {
        Self {
            entries,
            fresh: NR_RESERVED_ENTRIES,
            returned: Vec::new(),
            lent: 0,
        }
    }

    /// The entries, for the hypervisor's side or an audit.
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// How many grants have been made and not ended.
    pub fn lent(&self) -> usize {
        self.lent
    }

    /// Lets `domid` use the frame `gfn`. `None` when the table is full, or the frame number does
    /// not fit a version 1 entry.
    pub fn grant(&mut self, domid: DomId, gfn: Gfn, readonly: bool) -> Option<GrantRef> {
        let frame = u32::try_from(gfn.0).ok()?;
        let gref = self.free_entry()?;
        let flags = gtf::PERMIT_ACCESS | if readonly { gtf::READONLY } else { 0 };
        self.entries.publish(gref, domid, frame, flags);
        self.lent = self.lent.saturating_add(1);
        Some(gref)
    }

    /// Takes a frame back. Refused while the other domain uses it; the grant then stands as it
    /// was, and may be ended later.
    pub fn end(&mut self, gref: GrantRef) -> Result<(), StillInUse> {
        let word = self.entries.load(gref).unwrap_or(0);
        if word & u32::from(gtf::TYPE_MASK) == 0 {
            debug_assert!(false, "grant {gref} was not lent");
            return Ok(());
        }
        // A lost race means that the hypervisor has just set an in-use bit.
        if word & IN_USE != 0 || !self.entries.compare_exchange(gref, word, 0) {
            return Err(StillInUse(gref));
        }
        self.lent = self.lent.saturating_sub(1);
        self.returned.push(gref);
        Ok(())
    }

    fn free_entry(&mut self) -> Option<GrantRef> {
        if let Some(gref) = self.returned.pop() {
            return Some(gref);
        }
        let gref = Some(self.fresh).filter(|&fresh| fresh < CAPACITY)?;
        self.fresh = self.fresh.saturating_add(1);
        Some(GrantRef(gref))
    }
}
