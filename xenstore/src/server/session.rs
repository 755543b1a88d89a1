//! One request on one tree, the store's own or a transaction's: permission checks, node quotas,
//! and the notes that a transaction takes about what it has touched.
//!
//! Knows no wire and no watches; it says what has changed, and the server fires.

use std::collections::BTreeMap;
use std::sync::Arc;

use abi::DomId;

use super::domains::{Delta, Domains, Rights, Who};
use super::quota::within;
use super::tree::{Node, Tree};
use crate::{Path, Perm, StoreError};

/// A change that a client asked for, with absolute paths.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write(Path, Arc<[u8]>),
    Mkdir(Path),
    Remove(Path),
    SetPerms(Path, Arc<[Perm]>),
}

/// A change that took place, as watches need to know it.
#[derive(Debug)]
pub(super) struct Fired {
    pub(super) path: Path,
    /// Whoever may read one of these may learn of the change.
    pub(super) seen: Vec<Node>,
    /// What was removed along with `path`.
    pub(super) below: Vec<(Path, Node)>,
}

/// What a transaction has looked at or changed: the node itself, and its list of children.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched(BTreeMap<Path, Aspect>);

#[derive(Clone, Copy, Debug, Default)]
struct Aspect {
    list: bool,
}

impl Touched {
    fn note(&mut self, path: &Path, list: bool) {
        match self.0.get_mut(path) {
            Some(aspect) => aspect.list |= list,
            None => {
                self.0.insert(path.clone(), Aspect { list });
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether anything touched differs between two moments of the store.
    pub(super) fn differs(&self, before: &Tree, after: &Tree) -> bool {
        self.0.iter().any(|(path, aspect)| {
            let moment = |tree: &Tree| {
                let node = tree.get(path)?;
                Some((node.changed, aspect.list.then_some(node.listed)))
            };
            moment(before) != moment(after)
        })
    }
}

/// A request's view of the world.
pub(super) struct Session<'a> {
    pub(super) tree: &'a mut Tree,
    pub(super) domains: &'a Domains,
    pub(super) who: Who,
    pub(super) delta: &'a mut Delta,
    /// Where a transaction takes its notes.
    pub(super) touched: Option<&'a mut Touched>,
}

impl Session<'_> {
    /// The node, if it may be read.
    pub(super) fn read(&mut self, path: &Path) -> Result<Node, StoreError> {
        self.node(path, |rights| rights.read)
    }

    /// The names of a node's children and the generation of that list.
    pub(super) fn list(&mut self, path: &Path) -> Result<(u64, Vec<&str>), StoreError> {
        let node = self.read(path)?;
        self.touch(path, true);
        Ok((node.listed, self.tree.children(path)))
    }

    /// Carries out a change. `None`: there was nothing to change.
    pub(super) fn apply(&mut self, change: &Change) -> Result<Option<Fired>, StoreError> {
        match change {
            Change::Write(path, value) => self.write(path, value).map(Some),
            Change::Mkdir(path) => self.mkdir(path),
            Change::Remove(path) => self.remove(path),
            Change::SetPerms(path, perms) => self.set_perms(path, perms).map(Some),
        }
    }

    fn write(&mut self, path: &Path, value: &Arc<[u8]>) -> Result<Fired, StoreError> {
        if !self.who.privileged() {
            within(value.len(), self.domains.quota(self.who.domid).node_size)?;
        }
        let mut seen = Vec::new();
        match self.node(path, |rights| rights.write) {
            Ok(_) => {}
            Err(StoreError::NotFound) => seen.push(self.create(path)?),
            Err(error) => return Err(error),
        }
        let node = self.tree.change(path).ok_or(StoreError::NotFound)?;
        node.value = value.clone();
        seen.push(node.clone());
        Ok(Fired {
            path: path.clone(),
            seen,
            below: Vec::new(),
        })
    }

    fn mkdir(&mut self, path: &Path) -> Result<Option<Fired>, StoreError> {
        match self.node(path, |rights| rights.write) {
            Ok(_) => return Ok(None),
            Err(StoreError::NotFound) => {}
            Err(error) => return Err(error),
        }
        let parent = self.create(path)?;
        let seen = self
            .tree
            .get(path)
            .cloned()
            .into_iter()
            .chain([parent])
            .collect();
        Ok(Some(Fired {
            path: path.clone(),
            seen,
            below: Vec::new(),
        }))
    }

    /// Creates a node and what is missing above it, and returns the node that they hang from.
    /// They inherit its permissions; what an unprivileged domain creates is its own.
    fn create(&mut self, path: &Path) -> Result<Node, StoreError> {
        let (above, node) = self.tree.nearest(path).ok_or(StoreError::NotFound)?;
        let node = node.clone();
        if !self.domains.rights(self.who, &node).write {
            return Err(StoreError::Denied);
        }
        let mut perms = self.domains.valid_perms(&node);
        if !self.who.privileged()
            && let Some(owner) = Arc::make_mut(&mut perms).first_mut()
        {
            owner.domid = self.who.domid;
        }
        self.touch(&above, false);
        let missing = self.tree.missing(path);
        self.domains
            .may_create(self.who, self.delta, missing.len())?;
        self.tree.create(&missing, &perms);
        for created in &missing {
            self.pay(perms.first().map(|owner| owner.domid), 1);
            self.touch(created, false);
        }
        Ok(node)
    }

    fn remove(&mut self, path: &Path) -> Result<Option<Fired>, StoreError> {
        if path.is_root() {
            return Err(StoreError::Invalid);
        }
        match self.node(path, |rights| rights.write) {
            Ok(_) => {}
            Err(StoreError::NotFound) => {
                // That there is nothing to do rests on the parent being there.
                path.parent()
                    .iter()
                    .for_each(|parent| self.touch(parent, false));
                return self.parent(path).map(|_| None);
            }
            Err(error) => return Err(error),
        }
        let parent = self.parent(path)?;
        let mut removed = self.tree.remove(path).into_iter();
        for (path, node) in removed.clone() {
            self.pay(self.domains.payer(&node), -1);
            self.touch(&path, true);
        }
        let seen = removed
            .next()
            .map(|(_, node)| node)
            .into_iter()
            .chain([parent])
            .collect();
        Ok(Some(Fired {
            path: path.clone(),
            seen,
            below: removed.collect(),
        }))
    }

    fn parent(&self, path: &Path) -> Result<Node, StoreError> {
        let parent = path.parent().ok_or(StoreError::Invalid)?;
        self.tree.get(&parent).cloned().ok_or(StoreError::NotFound)
    }

    fn set_perms(&mut self, path: &Path, perms: &Arc<[Perm]>) -> Result<Fired, StoreError> {
        let before = self.node(path, |rights| rights.own)?;
        check_perms(self.domains, self.who, &before, perms)?;
        let (old, new) = (
            self.domains.payer(&before),
            perms.first().map(|perm| perm.domid),
        );
        self.pay(old, -1);
        self.pay(new, 1);
        let node = self.tree.change(path).ok_or(StoreError::NotFound)?;
        node.perms = perms.clone();
        node.perms_set = node.changed;
        let seen = vec![before, node.clone()];
        Ok(Fired {
            path: path.clone(),
            seen,
            below: Vec::new(),
        })
    }

    /// The node at `path`, if it exists and `may` says so. Who may not look at the place must not
    /// learn whether anything is there.
    fn node(&mut self, path: &Path, may: fn(Rights) -> bool) -> Result<Node, StoreError> {
        if path.is_special() {
            return Err(StoreError::Invalid);
        }
        self.touch(path, false);
        let found = self.tree.get(path);
        let nearest = found.or_else(|| self.tree.nearest(path).map(|(_, node)| node));
        let nearest = nearest.ok_or(StoreError::NotFound)?;
        let rights = self.domains.rights(self.who, nearest);
        match found {
            Some(node) if may(rights) => Ok(node.clone()),
            // Nobody owns what is not there; being allowed to create it is enough to know.
            None if may(rights) || rights.write => Err(StoreError::NotFound),
            _ => Err(StoreError::Denied),
        }
    }

    fn touch(&mut self, path: &Path, list: bool) {
        if let Some(touched) = &mut self.touched {
            touched.note(path, list);
        }
    }

    fn pay(&mut self, payer: Option<DomId>, nodes: i64) {
        if let Some(payer) = payer.filter(|payer| *payer != DomId::DOM0) {
            let balance = self.delta.entry(payer).or_insert(0);
            *balance = balance.saturating_add(nodes);
        }
    }
}

/// Whether `who`, who owns the node, may give it these permissions.
pub(super) fn check_perms(
    domains: &Domains,
    who: Who,
    node: &Node,
    perms: &[Perm],
) -> Result<(), StoreError> {
    if who.privileged() {
        return Ok(());
    }
    within(perms.len(), domains.quota(who.domid).node_permissions)?;
    if perms.first().map(|perm| perm.domid) != node.perms.first().map(|perm| perm.domid) {
        return Err(StoreError::NotPermitted);
    }
    Ok(())
}
