//! What a client asks for and what it gets: steps, batches of them, replies and events.
//! Plain values; how they travel is the business of [`crate::client`].

use abi::DomId;

use crate::wire::Request;
use crate::{Path, Perm, StoreError};

/// One request of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The value of a node: [`Reply::Value`].
    Read(Path),
    /// Insists that a node has this value: answered like a read of it, with
    /// [`StoreError::Conflict`] where the value is another one. Within a transaction nothing
    /// happens unless it holds, also for a node that is missing; so what was decided on is still
    /// true when it is written.
    Expect(Path, Vec<u8>),
    /// The names of a node's children: [`Reply::Names`], however many there are.
    Directory(Path),
    /// Sets a node's value; missing nodes on the way are created, with empty values.
    Write(Path, Vec<u8>),
    /// Removes a node and all below it. A missing node is no error, unless its parent is missing
    /// too.
    Remove(Path),
    /// Creates a node with an empty value; an existing one stays as it is.
    Mkdir(Path),
    /// The permissions of a node: [`Reply::Perms`].
    GetPerms(Path),
    /// Sets the permissions of a node; the first entry is the owner and default.
    SetPerms(Path, Vec<Perm>),
    /// Asks for an event whenever something at or below `path` changes, and one at once.
    Watch {
        /// Where.
        path: Path,
        /// Comes back in every event.
        token: String,
    },
    /// As [`Step::Watch`], but for changes at most `depth` levels below `path` (Xen 4.22).
    WatchDepth {
        /// Where.
        path: Path,
        /// Comes back in every event.
        token: String,
        /// 0: only `path` itself.
        depth: u32,
    },
    /// Takes a watch back. Events that have already arrived are dropped with it.
    Unwatch {
        /// As in the watch.
        path: Path,
        /// As in the watch.
        token: String,
    },
    /// Any other request of the protocol; its payload comes back as [`Reply::Value`].
    Request(Request),
}

impl Step {
    /// The permission change that gives `owner` the node and `reader` a look at it.
    pub fn share(path: Path, owner: DomId, reader: DomId) -> Self {
        use crate::Access::{None, Read};
        Self::SetPerms(path, vec![Perm::new(owner, None), Perm::new(reader, Read)])
    }
}

/// Steps that travel together, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The steps; replies come back in the same order.
    pub steps: Vec<Step>,
    /// Whether all of them happen at once or not at all. Watches and unwatches among the steps
    /// are not part of the transaction, nor are [`Step::Request`]s.
    pub transaction: bool,
}

impl Batch {
    /// Steps that are sent together but take effect one by one.
    pub fn new(steps: Vec<Step>) -> Self {
        Self {
            steps,
            transaction: false,
        }
    }

    /// Steps that take effect at once or not at all. Repeated on conflict.
    pub fn transaction(steps: Vec<Step>) -> Self {
        Self {
            steps,
            transaction: true,
        }
    }
}

/// Names a submitted batch. Never reused by the same client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// A successful answer to a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A node's value.
    Value(Vec<u8>),
    /// The names of a node's children.
    Names(Vec<String>),
    /// A node's permissions, the owner first.
    Perms(Vec<Perm>),
    /// It happened.
    Done,
}

impl Reply {
    /// The value, if this is one.
    pub fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Value(value) => Some(value),
            _ => None,
        }
    }
}

/// What a client has to tell its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A batch is finished.
    Replies {
        /// The batch.
        batch: BatchId,
        /// One answer per step, in the order of the steps. If a transaction did not happen, the
        /// step that made it fail has its error and every other write is
        /// [`StoreError::RolledBack`]; reads keep what they saw.
        replies: Vec<Result<Reply, StoreError>>,
    },
    /// Something at or below a watched path changed, perhaps several times: look at the node.
    Watch {
        /// What changed, or the watched path itself when too much did.
        path: Path,
        /// The token of the watch.
        token: String,
    },
}
