//! Requests about nodes, watches and transactions: anybody may make them.

use abi::DomId;

use super::domains::{Delta, Who};
use super::quota::within;
use super::session::{Change, Session};
use super::transaction::Transaction;
use super::watches::Watch;
use super::{ConnId, Server};
use crate::wire::{self, Request};
use crate::{Path, StoreError};
use abi::io::xs_wire::PAYLOAD_MAX;

/// The payload of a reply.
pub(super) type Payload = Result<Vec<u8>, StoreError>;

impl Server {
    /// Carries out one request.
    pub(super) fn request(&mut self, conn: ConnId, tx_id: u32, request: Request) -> Payload {
        let who = self.who(conn)?;
        match request {
            Request::Read(path) => self.look(conn, tx_id, &path, |session, path| {
                Ok(session.read(path)?.value.to_vec())
            }),
            Request::GetPerms(path) if path.is_special() => self.special_perms(who, &path),
            Request::GetPerms(path) => self.look(conn, tx_id, &path, |session, path| {
                let node = session.read(path)?;
                Ok(wire::perms(&session.domains.valid_perms(&node)))
            }),
            Request::Directory(path) => self.look(conn, tx_id, &path, |session, path| {
                Ok(wire::names(session.list(path)?.1))
            }),
            Request::DirectoryPart { path, offset } => {
                let offset = usize::try_from(offset).unwrap_or(usize::MAX);
                self.look(conn, tx_id, &path, |session, path| {
                    let (generation, names) = session.list(path)?;
                    wire::directory_part(generation, names, offset)
                })
            }
            Request::Write(path, value) => self.change(
                conn,
                tx_id,
                Change::Write(self.place(who, &path)?, value.into()),
            ),
            Request::Mkdir(path) => {
                self.change(conn, tx_id, Change::Mkdir(self.place(who, &path)?))
            }
            Request::Rm(path) => self.change(conn, tx_id, Change::Remove(self.place(who, &path)?)),
            Request::SetPerms(path, perms) if path.is_special() => {
                self.set_special_perms(who, &path, perms)
            }
            Request::SetPerms(path, perms) => self.change(
                conn,
                tx_id,
                Change::SetPerms(self.place(who, &path)?, perms.into()),
            ),
            Request::Watch { path, token, depth } => self.watch(conn, &path, token, depth),
            Request::Unwatch { path, token } => self.unwatch(conn, &path, &token),
            Request::TransactionStart => self.start(conn, tx_id),
            Request::TransactionEnd { commit } => self.end(conn, tx_id, commit),
            Request::ResetWatches => {
                self.reset(conn);
                done()
            }
            administrative => self.administer(who, administrative),
        }
    }

    fn who(&self, conn: ConnId) -> Result<Who, StoreError> {
        let connection = self.connections.get(&conn).ok_or(StoreError::NotFound)?;
        Ok(self.domains.who(connection.domid))
    }

    /// The absolute form of a path, if it is not too long for `who`.
    fn place(&self, who: Who, path: &Path) -> Result<Path, StoreError> {
        let path = path.resolve(who.domid);
        if !who.privileged() {
            within(path.as_str().len(), self.domains.quota(who.domid).path_max)
                .map_err(|_| StoreError::Invalid)?;
        }
        Ok(path)
    }

    /// Reads from the store, or from the view of a transaction.
    fn look(
        &mut self,
        conn: ConnId,
        tx_id: u32,
        path: &Path,
        read: impl Fn(&mut Session<'_>, &Path) -> Payload,
    ) -> Payload {
        let who = self.who(conn)?;
        let path = self.place(who, path)?;
        let payload = if tx_id == 0 {
            let (tree, domains) = (&mut self.tree, &self.domains);
            let mut delta = Delta::new();
            read(
                &mut Session {
                    tree,
                    domains,
                    who,
                    delta: &mut delta,
                    touched: None,
                },
                &path,
            )?
        } else {
            let transaction = transaction(&mut self.connections, conn, tx_id)?;
            transaction.room(&self.domains, who)?;
            read(&mut transaction.session(&self.domains, who), &path)?
        };
        if payload.len() > PAYLOAD_MAX {
            Err(StoreError::TooBig)
        } else {
            Ok(payload)
        }
    }

    fn change(&mut self, conn: ConnId, tx_id: u32, change: Change) -> Payload {
        let who = self.who(conn)?;
        if tx_id != 0 {
            let transaction = transaction(&mut self.connections, conn, tx_id)?;
            transaction.apply(&self.domains, who, change)?;
            return done();
        }
        let (tree, domains) = (&mut self.tree, &self.domains);
        let mut delta = Delta::new();
        let fired = Session {
            tree,
            domains,
            who,
            delta: &mut delta,
            touched: None,
        }
        .apply(&change)?;
        self.domains.settle(&delta);
        if let Some(fired) = fired {
            self.fire(&fired);
        }
        done()
    }

    fn watch(&mut self, conn: ConnId, path: &Path, token: String, depth: Option<u32>) -> Payload {
        let who = self.who(conn)?;
        let place = self.place(who, path)?;
        let domain = self.domains.get(who.domid);
        let used = domain.map_or(0, |domain| domain.watches).saturating_add(1);
        if !who.privileged() && used > self.domains.quota(who.domid).watches {
            return Err(StoreError::TooBig);
        }
        let watch = Watch {
            given: path.clone(),
            depth,
        };
        if !self.watches.add(place.clone(), conn, token.clone(), watch) {
            return Err(StoreError::Exists);
        }
        self.domains.entry(who.domid).watches = used;
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.output.event(path.clone(), token.clone(), path);
            connection.watches.insert((place, token));
        }
        done()
    }

    fn unwatch(&mut self, conn: ConnId, path: &Path, token: &str) -> Payload {
        let who = self.who(conn)?;
        let place = self.place(who, path)?;
        self.drop_watch(conn, who.domid, &place, token)
            .ok_or(StoreError::NotFound)?;
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.watches.remove(&(place, token.to_owned()));
        }
        done()
    }

    fn drop_watch(&mut self, conn: ConnId, domid: DomId, place: &Path, token: &str) -> Option<()> {
        let watch = self.watches.remove(place, conn, token)?;
        let domain = self.domains.entry(domid);
        domain.watches = domain.watches.saturating_sub(1);
        self.connections
            .get_mut(&conn)?
            .output
            .forget(&watch.given, token);
        Some(())
    }

    /// Drops all watches and transactions of a connection.
    pub(super) fn reset(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return;
        };
        let domid = connection.domid;
        let watches = std::mem::take(&mut connection.watches);
        let transactions = std::mem::take(&mut connection.transactions).len();
        for (place, token) in watches {
            self.drop_watch(conn, domid, &place, &token);
        }
        let domain = self.domains.entry(domid);
        let transactions = u32::try_from(transactions).unwrap_or(u32::MAX);
        domain.transactions = domain.transactions.saturating_sub(transactions);
    }

    fn start(&mut self, conn: ConnId, tx_id: u32) -> Payload {
        let who = self.who(conn)?;
        if tx_id != 0 {
            return Err(StoreError::Busy);
        }
        let domain = self.domains.get(who.domid);
        let used = domain
            .map_or(0, |domain| domain.transactions)
            .saturating_add(1);
        if !who.privileged() && used > self.domains.quota(who.domid).transactions {
            return Err(StoreError::Quota);
        }
        let id = self.last_tx.checked_add(1).unwrap_or(1);
        self.last_tx = id;
        self.domains.entry(who.domid).transactions = used;
        let connection = self
            .connections
            .get_mut(&conn)
            .ok_or(StoreError::NotFound)?;
        connection
            .transactions
            .insert(id, Transaction::new(&self.tree));
        Ok(wire::names([id.to_string().as_str()]))
    }

    fn end(&mut self, conn: ConnId, tx_id: u32, commit: bool) -> Payload {
        let who = self.who(conn)?;
        let connection = self
            .connections
            .get_mut(&conn)
            .ok_or(StoreError::NotFound)?;
        let ended = connection
            .transactions
            .remove(&tx_id)
            .ok_or(StoreError::NotFound)?;
        let domain = self.domains.entry(who.domid);
        domain.transactions = domain.transactions.saturating_sub(1);
        if commit {
            for fired in ended.commit(&mut self.tree, &mut self.domains, who)? {
                self.fire(&fired);
            }
        }
        done()
    }
}

fn transaction(
    connections: &mut std::collections::BTreeMap<ConnId, super::Connection>,
    conn: ConnId,
    tx_id: u32,
) -> Result<&mut Transaction, StoreError> {
    let connection = connections.get_mut(&conn).ok_or(StoreError::NotFound)?;
    connection
        .transactions
        .get_mut(&tx_id)
        .ok_or(StoreError::NotFound)
}

/// The reply that says only that it happened.
pub(super) fn done() -> Payload {
    Ok(wire::OK.to_vec())
}
