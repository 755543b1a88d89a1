//! Watches, indexed by the path that they are set on. Matching a change means one look-up per
//! segment of its path: what it costs does not depend on how many other watches there are.
//!
//! Knows no permissions; the server asks for each match whether its owner may learn of it.

use std::collections::BTreeMap;

use super::ConnId;
use crate::Path;

/// One watch.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    /// The path as its owner wrote it, perhaps relative.
    pub(super) given: Path,
    /// Levels below the path that still count; all, if there is none.
    pub(super) depth: Option<u32>,
}

impl Watch {
    /// How the event for `path` is told to the owner of this watch, which is set on `watched`.
    /// Relative watches get relative events, with the same base.
    pub(super) fn told(&self, watched: &Path, path: &Path) -> Path {
        let base = watched
            .as_str()
            .len()
            .saturating_sub(self.given.as_str().len());
        let relative = !self.given.is_absolute() && !self.given.is_special();
        path.as_str()
            .get(base..)
            .filter(|_| relative)
            .and_then(|text| Path::new(text).ok())
            .unwrap_or_else(|| path.clone())
    }
}

type Owners = BTreeMap<(ConnId, String), Watch>;

/// All watches.
#[derive(Debug, Default)]
pub(super) struct Watches {
    by_path: BTreeMap<Path, Owners>,
    /// Watches that were looked at to match changes, ever.
    pub(super) examined: u64,
}

/// A watch that matches a change.
#[derive(Debug)]
pub(super) struct Match {
    pub(super) conn: ConnId,
    pub(super) token: String,
    pub(super) watch: Watch,
    pub(super) watched: Path,
}

impl Watches {
    /// Adds a watch; false if there is the same one already.
    pub(super) fn add(&mut self, path: Path, conn: ConnId, token: String, watch: Watch) -> bool {
        let owners = self.by_path.entry(path).or_default();
        let new = !owners.contains_key(&(conn, token.clone()));
        if new {
            owners.insert((conn, token), watch);
        }
        new
    }

    /// Removes a watch; `None` if there is none.
    pub(super) fn remove(&mut self, path: &Path, conn: ConnId, token: &str) -> Option<Watch> {
        let owners = self.by_path.get_mut(path)?;
        let removed = owners.remove(&(conn, token.to_owned()));
        if owners.is_empty() {
            self.by_path.remove(path);
        }
        removed
    }

    /// The watches on exactly this path.
    pub(super) fn on(&mut self, path: &Path) -> Vec<Match> {
        let Some(owners) = self.by_path.get(path) else {
            return Vec::new();
        };
        let matches = owners.iter().map(|((conn, token), watch)| Match {
            conn: *conn,
            token: token.clone(),
            watch: watch.clone(),
            watched: path.clone(),
        });
        let matches: Vec<Match> = matches.collect();
        let examined = u64::try_from(matches.len()).unwrap_or(u64::MAX);
        self.examined = self.examined.saturating_add(examined);
        matches
    }

    /// The watches on this path and above it, as far as their depth reaches.
    pub(super) fn matching(&mut self, path: &Path) -> Vec<Match> {
        let mut matches = Vec::new();
        let mut levels = 0_u32;
        let mut next = Some(path.clone());
        while let Some(path) = next {
            let deep = |found: &Match| found.watch.depth.is_none_or(|depth| depth >= levels);
            matches.extend(self.on(&path).into_iter().filter(deep));
            levels = levels.saturating_add(1);
            next = path.parent();
        }
        matches
    }
}
