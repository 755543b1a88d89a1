//! What the algorithm's files find under `super::sync` in this test: loom's atomics.

pub(crate) use loom::sync::atomic::{AtomicU32, Ordering};

/// Waiting is letting another thread run.
pub(crate) fn pause(_round: u32) -> bool {
    loom::thread::yield_now();
    true
}
