//! From changes to watch events: who watches, who may know, and what they are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use abi::DomId;

use super::Server;
use super::session::Fired;
use super::tree::Node;
use super::watches::Match;
use crate::{Access, Path, Perm};

/// Fires when a domain becomes known.
pub(super) const INTRODUCE: &str = "@introduceDomain";
/// Fires when a domain is gone.
pub(super) const RELEASE: &str = "@releaseDomain";

/// The special events, with the permissions that they start with.
pub(super) fn specials() -> BTreeMap<&'static str, Node> {
    let perms: Arc<[Perm]> = Arc::new([Perm::new(DomId::DOM0, Access::None)]);
    [INTRODUCE, RELEASE]
        .into_iter()
        .map(|name| (name, Node::new(perms.clone(), 0)))
        .collect()
}

impl Server {
    /// Tells everybody who watches and may know.
    pub(super) fn fire(&mut self, change: &Fired) {
        for found in self.watches.matching(&change.path) {
            self.tell(found, &change.path, &change.seen);
        }
        // Whoever watches something that went away with its parent is told of that itself.
        for (path, node) in &change.below {
            for found in self.watches.on(path) {
                self.tell(found, path, std::slice::from_ref(node));
            }
        }
    }

    /// Fires `@event` and `@event/<domid>`. A watch on the former hears which domain it was only
    /// if it was set with a depth of at least 1 (Xen 4.22); the rest know the bare name.
    pub(super) fn fire_special(&mut self, event: &'static str, domid: DomId) {
        let Some(node) = self.specials.get(event).cloned() else {
            return;
        };
        let (Ok(bare), Ok(exact)) = (Path::new(event), Path::new(format!("{event}/{domid}")))
        else {
            return;
        };
        for found in self.watches.on(&bare) {
            let named = found.watch.depth.is_some_and(|depth| depth > 0);
            self.tell(
                found,
                if named { &exact } else { &bare },
                std::slice::from_ref(&node),
            );
        }
        for found in self.watches.on(&exact) {
            self.tell(found, &exact, std::slice::from_ref(&node));
        }
    }

    fn tell(&mut self, found: Match, path: &Path, seen: &[Node]) {
        let Some(connection) = self.connections.get_mut(&found.conn) else {
            return;
        };
        let who = self.domains.who(connection.domid);
        if seen.iter().any(|node| self.domains.rights(who, node).read) {
            let told = found.watch.told(&found.watched, path);
            connection
                .output
                .event(told, found.token, &found.watch.given);
            self.ready.insert(found.conn);
        }
    }
}
