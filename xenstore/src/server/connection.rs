//! One connection: whose it is, what it has sent and not been answered, what waits for it.

use std::collections::{BTreeMap, BTreeSet};

use abi::DomId;

use super::output::Output;
use super::transaction::Transaction;
use crate::Path;
use crate::wire::Splitter;

/// Bytes of requests that an unprivileged client may send ahead of fetching replies. More than
/// twice what its ring page and a socket buffer's worth of patience could hold.
pub(super) const INPUT_MAX: usize = 256 << 10;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) domid: DomId,
    pub(super) input: Splitter,
    pub(super) output: Output,
    /// Where its watches are set, with their tokens.
    pub(super) watches: BTreeSet<(Path, String)>,
    pub(super) transactions: BTreeMap<u32, Transaction>,
}

impl Connection {
    pub(super) fn new(domid: DomId) -> Self {
        Self {
            domid,
            input: Splitter::default(),
            output: Output::default(),
            watches: BTreeSet::new(),
            transactions: BTreeMap::new(),
        }
    }
}
