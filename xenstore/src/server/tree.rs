//! The nodes. A flat ordered map from absolute path to node: a node's children are found by
//! stepping over its range, so no operation recurses along a path that a guest chose, and a clone
//! is a snapshot.
//!
//! Knows no permissions and no quotas. Invariant: if a node exists, so does its parent.

use std::sync::Arc;

use super::map::Map;
use crate::{Access, Path, Perm};
use abi::DomId;

/// One node, cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Arc<[u8]>,
    pub(super) perms: Arc<[Perm]>,
    /// When value or permissions were last written.
    pub(super) changed: u64,
    /// When the permissions were written: those of domains that died since are void.
    pub(super) perms_set: u64,
    /// When a child last came or went.
    pub(super) listed: u64,
}

impl Node {
    pub(super) fn new(perms: Arc<[Perm]>, at: u64) -> Self {
        Self {
            value: Arc::default(),
            perms,
            changed: at,
            perms_set: at,
            listed: at,
        }
    }
}

/// The store's content at one moment.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: Map<Node>,
    /// Grows with every change.
    pub(super) generation: u64,
}

impl Tree {
    /// The root alone, owned by domain 0 and closed to everybody else.
    pub(super) fn new() -> Self {
        let mut nodes = Map::default();
        nodes.insert(
            "/",
            Node::new(Arc::new([Perm::new(DomId::DOM0, Access::None)]), 0),
        );
        Self {
            nodes,
            generation: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn get(&self, path: &Path) -> Option<&Node> {
        self.nodes.get(path.as_str())
    }

    /// The node to change at a new moment, which is stored as its `changed`.
    pub(super) fn change(&mut self, path: &Path) -> Option<&mut Node> {
        self.nodes.get(path.as_str())?;
        self.generation = self.generation.saturating_add(1);
        let node = self.nodes.get_mut(path.as_str())?;
        node.changed = self.generation;
        Some(node)
    }

    /// The nearest node above `path` that exists, with its path.
    pub(super) fn nearest(&self, path: &Path) -> Option<(Path, &Node)> {
        let mut above = path.parent();
        while let Some(path) = above {
            if let Some(node) = self.get(&path) {
                return Some((path, node));
            }
            above = path.parent();
        }
        None
    }

    /// `path` and those above it that do not exist, the outermost first.
    pub(super) fn missing(&self, path: &Path) -> Vec<Path> {
        let mut missing = Vec::new();
        let mut next = Some(path.clone());
        while let Some(path) = next.take_if(|path| self.get(path).is_none()) {
            next = path.parent();
            missing.push(path);
        }
        missing.reverse();
        missing
    }

    /// Creates nodes, the outermost first, all with these permissions.
    pub(super) fn create(&mut self, missing: &[Path], perms: &Arc<[Perm]>) {
        self.generation = self.generation.saturating_add(1);
        for path in missing {
            self.nodes
                .insert(path.as_str(), Node::new(perms.clone(), self.generation));
            self.list_anew(path);
        }
    }

    /// Removes `path` and all below it, and returns what was there, `path` first.
    pub(super) fn remove(&mut self, path: &Path) -> Vec<(Path, Node)> {
        let mut paths = vec![path.clone()];
        let mut from = format!("{path}/");
        while let Some((key, _)) = self.nodes.seek(&from)
            && let Ok(found) = Path::new(&**key)
            && path.contains(&found)
        {
            from = format!("{key}\0");
            paths.push(found);
        }
        self.generation = self.generation.saturating_add(1);
        self.list_anew(path);
        let nodes = &mut self.nodes;
        paths
            .into_iter()
            .filter_map(|path| nodes.remove(path.as_str()).map(|node| (path, node)))
            .collect()
    }

    /// The names of the children, in order. Costs one search per child.
    pub(super) fn children(&self, path: &Path) -> Vec<&str> {
        let prefix = if path.is_root() {
            "/".to_owned()
        } else {
            format!("{path}/")
        };
        let mut from = format!("{prefix}\0");
        let mut names = Vec::new();
        while let Some((key, _)) = self.nodes.seek(&from)
            && let Some(name) = key.strip_prefix(&prefix)
        {
            match name.split_once('/') {
                // What is below a child is skipped at once: '0' follows '/' in ASCII.
                Some((child, _)) => from = format!("{prefix}{child}0"),
                None => {
                    from = format!("{key}\0");
                    names.push(name);
                }
            }
        }
        names
    }

    fn list_anew(&mut self, child: &Path) {
        let generation = self.generation;
        if let Some(parent) = child.parent()
            && let Some(node) = self.nodes.get_mut(parent.as_str())
        {
            node.listed = generation;
        }
    }
}
