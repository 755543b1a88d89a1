//! Requests about domains, quotas and the server itself: for the control domain, but for the few
//! that ask about the caller.

use std::sync::Arc;

use abi::DomId;

use super::domains::Who;
use super::requests::{Payload, done};
use super::session::check_perms;
use super::tree::Node;
use super::{Server, fire, quota};
use crate::wire::{self, Request};
use crate::{Path, Perm, StoreError};

/// What this server can do, as bits of a ring page's `server_features`: a depth in WATCH (4).
/// There is no ring page to reconnect (1) or to report errors in (2), and no DOMID_ANY (8).
const FEATURES: u32 = 4;

impl Server {
    /// Carries out a request that is not about nodes.
    pub(super) fn administer(&mut self, who: Who, request: Request) -> Payload {
        match request {
            Request::GetDomainPath(domid) => Ok(text(Path::home(domid).as_str())),
            Request::IsDomainIntroduced(domid) if who.privileged() || domid == who.domid => {
                Ok(text(if self.domains.introduced(domid) {
                    "T"
                } else {
                    "F"
                }))
            }
            _ if !who.privileged() => Err(StoreError::Denied),
            request => self.privileged(request),
        }
    }

    fn privileged(&mut self, request: Request) -> Payload {
        match request {
            Request::Introduce { domid, .. } => {
                self.introduce(real(domid)?);
                done()
            }
            Request::Release(domid) => {
                self.known(domid)?;
                self.release(domid);
                done()
            }
            Request::Resume(domid) => self.known(domid).and_then(|()| done()),
            Request::SetTarget { domid, target } => {
                self.known(domid)?;
                self.domains.entry(domid).target = Some(real(target)?);
                done()
            }
            Request::Control(words) => control(&words),
            Request::GetFeature(None) => Ok(text(&FEATURES.to_string())),
            Request::GetFeature(Some(domid)) => {
                self.known(domid)?;
                let own = self.domains.get(domid).and_then(|domain| domain.features);
                Ok(text(&own.unwrap_or(FEATURES).to_string()))
            }
            Request::SetFeature { domid, features } => {
                self.known(domid)?;
                if features & !FEATURES != 0 {
                    return Err(StoreError::Invalid);
                }
                self.domains.entry(domid).features = Some(features);
                done()
            }
            Request::GetQuota { name: None, .. } => Ok(text(&quota::NAMES.join(" "))),
            Request::GetQuota {
                domid,
                name: Some(name),
            } => {
                let mut quota = *self.quota_of(domid)?;
                Ok(text(&quota.value(&name)?.to_string()))
            }
            Request::SetQuota { domid, name, value } => self.set_quota(domid, &name, value),
            _ => Err(StoreError::Unsupported),
        }
    }

    fn quota_of(&self, domid: Option<DomId>) -> Result<&quota::Quota, StoreError> {
        let Some(domid) = domid else {
            return Ok(&self.domains.default_quota);
        };
        self.known(domid)?;
        Ok(self.domains.quota(domid))
    }

    fn set_quota(&mut self, domid: Option<DomId>, name: &str, value: u32) -> Payload {
        let mut quota = *self.quota_of(domid)?;
        *quota.value(name)? = value;
        match domid {
            Some(domid) => self.domains.entry(domid).quota = Some(quota),
            None => self.domains.default_quota = quota,
        }
        done()
    }

    /// Whether a domain other than 0 has been introduced.
    fn known(&self, domid: DomId) -> Result<(), StoreError> {
        if self.domains.introduced(real(domid)?) {
            Ok(())
        } else {
            Err(StoreError::NotFound)
        }
    }

    /// The permissions of a special event.
    pub(super) fn special_perms(&self, who: Who, path: &Path) -> Payload {
        let node = self
            .specials
            .get(path.as_str())
            .ok_or(StoreError::NotFound)?;
        if !self.domains.rights(who, node).read {
            return Err(StoreError::Denied);
        }
        Ok(wire::perms(&self.domains.valid_perms(node)))
    }

    /// Lets other domains hear of a special event.
    pub(super) fn set_special_perms(&mut self, who: Who, path: &Path, perms: Vec<Perm>) -> Payload {
        let known = [fire::INTRODUCE, fire::RELEASE];
        let name = known.into_iter().find(|name| *name == path.as_str());
        let name = name.ok_or(StoreError::NotFound)?;
        let node = self.specials.get(name).ok_or(StoreError::NotFound)?;
        if !self.domains.rights(who, node).own {
            return Err(StoreError::Denied);
        }
        check_perms(&self.domains, who, node, &perms)?;
        self.tree.generation = self.tree.generation.saturating_add(1);
        self.specials
            .insert(name, Node::new(Arc::from(perms), self.tree.generation));
        done()
    }
}

/// A domain that is neither domain 0 nor one of the reserved numbers.
fn real(domid: DomId) -> Result<DomId, StoreError> {
    if domid == DomId::DOM0 || domid >= DomId::FIRST_RESERVED {
        return Err(StoreError::Invalid);
    }
    Ok(domid)
}

fn control(words: &[String]) -> Payload {
    match words.first().map(String::as_str) {
        Some("check") => done(),
        Some("help") => Ok(text("check help")),
        _ => Err(StoreError::Invalid),
    }
}

fn text(text: &str) -> Vec<u8> {
    wire::names([text])
}
