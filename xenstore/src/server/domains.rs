//! What the server knows about domains: who is known, who stands in for whom, what each has used
//! up of its quotas. Domain 0 has none.

use std::collections::{BTreeMap, BTreeSet};

use abi::DomId;

use super::ConnId;
use super::quota::{Quota, within};
use super::tree::Node;
use crate::{Perm, StoreError};

/// One domain's account.
#[derive(Clone, Debug, Default)]
pub(super) struct Domain {
    pub(super) introduced: bool,
    pub(super) target: Option<DomId>,
    pub(super) quota: Option<Quota>,
    pub(super) features: Option<u32>,
    pub(super) nodes: u64,
    pub(super) watches: u32,
    pub(super) transactions: u32,
    pub(super) connections: BTreeSet<ConnId>,
    /// The tree's generation when a domain of this number last died.
    released_at: Option<u64>,
}

/// Nodes that came and went, by the domain that pays for them.
pub(super) type Delta = BTreeMap<DomId, i64>;

/// All domains that were ever heard of.
#[derive(Debug, Default)]
pub(super) struct Domains {
    all: BTreeMap<DomId, Domain>,
    pub(super) default_quota: Quota,
}

/// In whose name a request is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Who {
    pub(super) domid: DomId,
    pub(super) target: Option<DomId>,
}

/// What somebody may do with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rights {
    pub(super) read: bool,
    pub(super) write: bool,
    pub(super) own: bool,
}

impl Who {
    pub(super) fn privileged(self) -> bool {
        self.domid == DomId::DOM0
    }

    fn is(self, domid: DomId) -> bool {
        self.domid == domid || self.target == Some(domid)
    }
}

impl Domains {
    pub(super) fn get(&self, domid: DomId) -> Option<&Domain> {
        self.all.get(&domid)
    }

    pub(super) fn entry(&mut self, domid: DomId) -> &mut Domain {
        self.all.entry(domid).or_default()
    }

    pub(super) fn who(&self, domid: DomId) -> Who {
        Who {
            domid,
            target: self.get(domid).and_then(|domain| domain.target),
        }
    }

    pub(super) fn quota(&self, domid: DomId) -> &Quota {
        let own = self.get(domid).and_then(|domain| domain.quota.as_ref());
        own.unwrap_or(&self.default_quota)
    }

    pub(super) fn introduced(&self, domid: DomId) -> bool {
        domid == DomId::DOM0 || self.get(domid).is_some_and(|domain| domain.introduced)
    }

    /// Forgets a dead domain; what it was granted up to `generation` is void from now on.
    pub(super) fn release(&mut self, domid: DomId, generation: u64) -> BTreeSet<ConnId> {
        let fresh = Domain {
            released_at: Some(generation),
            ..Domain::default()
        };
        self.all
            .insert(domid, fresh)
            .map(|dead| dead.connections)
            .unwrap_or_default()
    }

    /// Whether `perm` was given to a domain that has died since: its number may have a new bearer.
    fn void(&self, node: &Node, perm: &Perm) -> bool {
        let released = self.get(perm.domid).and_then(|domain| domain.released_at);
        released.is_some_and(|released| node.perms_set <= released)
    }

    /// The permissions of a node without those of the dead; their nodes fall to domain 0.
    pub(super) fn valid_perms(&self, node: &Node) -> std::sync::Arc<[Perm]> {
        if !node.perms.iter().any(|perm| self.void(node, perm)) {
            return node.perms.clone();
        }
        let owner = node
            .perms
            .iter()
            .take(1)
            .map(|perm| match self.void(node, perm) {
                true => Perm::new(DomId::DOM0, crate::Access::None),
                false => *perm,
            });
        let others = node
            .perms
            .iter()
            .skip(1)
            .filter(|perm| !self.void(node, perm))
            .copied();
        owner.chain(others).collect()
    }

    /// Owner first, then the first entry that names the domain, then the default.
    pub(super) fn rights(&self, who: Who, node: &Node) -> Rights {
        let mut perms = node.perms.iter();
        let default = perms.next();
        let owner = default.is_some_and(|perm| who.is(perm.domid) && !self.void(node, perm));
        if who.privileged() || owner {
            return Rights {
                read: true,
                write: true,
                own: true,
            };
        }
        let named = perms.find(|perm| who.is(perm.domid) && !self.void(node, perm));
        let default = default.filter(|perm| !self.void(node, perm));
        let access = named
            .or(default)
            .map_or(crate::Access::None, |perm| perm.access);
        Rights {
            read: access.reads(),
            write: access.writes(),
            own: false,
        }
    }

    /// Who pays for a node.
    pub(super) fn payer(&self, node: &Node) -> Option<DomId> {
        let owner = node.perms.first().filter(|perm| !self.void(node, perm))?;
        (owner.domid != DomId::DOM0).then_some(owner.domid)
    }

    /// Whether `who` may create `more` nodes, beyond what `delta` already has.
    pub(super) fn may_create(
        &self,
        who: Who,
        delta: &Delta,
        more: usize,
    ) -> Result<(), StoreError> {
        if who.privileged() {
            return Ok(());
        }
        let booked = self.get(who.domid).map_or(0, |domain| domain.nodes);
        let owned = booked.saturating_add_signed(delta.get(&who.domid).copied().unwrap_or(0));
        let wanted = usize::try_from(owned)
            .unwrap_or(usize::MAX)
            .saturating_add(more);
        within(wanted, self.quota(who.domid).nodes)
    }

    /// Books nodes that came and went.
    pub(super) fn settle(&mut self, delta: &Delta) {
        for (domid, change) in delta {
            let domain = self.entry(*domid);
            domain.nodes = domain.nodes.saturating_add_signed(*change);
        }
    }
}
