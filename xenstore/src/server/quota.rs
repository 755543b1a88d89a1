//! Quotas of unprivileged domains, with the defaults of Xen's C xenstored
//! (`tools/xenstored/domain.c`).

use crate::StoreError;

/// What one domain may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quota {
    pub(super) nodes: u32,
    pub(super) watches: u32,
    pub(super) transactions: u32,
    pub(super) transaction_nodes: u32,
    pub(super) node_permissions: u32,
    pub(super) path_max: u32,
    pub(super) node_size: u32,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            nodes: 1000,
            watches: 128,
            transactions: 10,
            transaction_nodes: 1024,
            node_permissions: 5,
            path_max: 2048,
            node_size: 2048,
        }
    }
}

/// The names that GET_QUOTA and SET_QUOTA use.
pub(super) const NAMES: [&str; 7] = [
    "nodes",
    "watches",
    "transactions",
    "transaction-nodes",
    "node-permissions",
    "path-max",
    "node-size",
];

impl Quota {
    /// The value of a name.
    pub(super) fn value(&mut self, name: &str) -> Result<&mut u32, StoreError> {
        Ok(match name {
            "nodes" => &mut self.nodes,
            "watches" => &mut self.watches,
            "transactions" => &mut self.transactions,
            "transaction-nodes" => &mut self.transaction_nodes,
            "node-permissions" => &mut self.node_permissions,
            "path-max" => &mut self.path_max,
            "node-size" => &mut self.node_size,
            _ => return Err(StoreError::Invalid),
        })
    }
}

/// Refuses what exceeds a limit.
pub(super) fn within(used: usize, limit: u32) -> Result<(), StoreError> {
    if u32::try_from(used).is_ok_and(|used| used <= limit) {
        Ok(())
    } else {
        Err(StoreError::Quota)
    }
}
