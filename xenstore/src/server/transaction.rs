//! A transaction: a snapshot of the store, a private view on top of it, what it has touched, and
//! the changes to repeat at its end.
//!
//! It conflicts if something that it has read or written was changed by somebody else in between,
//! and with nothing else: two transactions that create different nodes in the same directory both
//! commit. Invariant: a change that failed has left no trace in the view.

use super::domains::{Delta, Domains, Who};
use super::quota::within;
use super::session::{Change, Fired, Session, Touched};
use super::tree::Tree;
use crate::StoreError;

#[derive(Debug)]
pub(super) struct Transaction {
    base: Tree,
    view: Tree,
    touched: Touched,
    delta: Delta,
    changes: Vec<Change>,
}

impl Transaction {
    pub(super) fn new(tree: &Tree) -> Self {
        Self {
            base: tree.clone(),
            view: tree.clone(),
            touched: Touched::default(),
            delta: Delta::new(),
            changes: Vec::new(),
        }
    }

    /// The view, for reading.
    pub(super) fn session<'a>(&'a mut self, domains: &'a Domains, who: Who) -> Session<'a> {
        Session {
            tree: &mut self.view,
            domains,
            who,
            delta: &mut self.delta,
            touched: Some(&mut self.touched),
        }
    }

    /// Changes the view.
    pub(super) fn apply(
        &mut self,
        domains: &Domains,
        who: Who,
        change: Change,
    ) -> Result<(), StoreError> {
        self.room(domains, who)?;
        let (view, delta) = (self.view.clone(), self.delta.clone());
        match self.session(domains, who).apply(&change) {
            Ok(Some(_)) => self.changes.push(change),
            Ok(None) => {}
            Err(error) => {
                (self.view, self.delta) = (view, delta);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether there is room to keep one more request in mind. Failed ones count: that a node was
    /// not there has to be remembered as well.
    pub(super) fn room(&self, domains: &Domains, who: Who) -> Result<(), StoreError> {
        if who.privileged() {
            return Ok(());
        }
        let limit = domains.quota(who.domid).transaction_nodes;
        within(self.touched.len().saturating_add(1), limit)?;
        within(self.changes.len().saturating_add(1), limit)
    }

    /// Repeats the changes on the store itself, all or none.
    pub(super) fn commit(
        self,
        tree: &mut Tree,
        domains: &mut Domains,
        who: Who,
    ) -> Result<Vec<Fired>, StoreError> {
        if self.touched.differs(&self.base, tree) {
            return Err(StoreError::Conflict);
        }
        let before = tree.clone();
        let mut delta = Delta::new();
        let mut fired = Vec::new();
        for change in &self.changes {
            let mut session = Session {
                tree: &mut *tree,
                domains,
                who,
                delta: &mut delta,
                touched: None,
            };
            match session.apply(change) {
                Ok(change) => fired.extend(change),
                Err(error) => {
                    *tree = before;
                    return Err(error);
                }
            }
        }
        domains.settle(&delta);
        Ok(fired)
    }
}
