//! What `order` is built from; the loom model puts its own in this place.

pub(crate) use std::sync::atomic::{AtomicU32, Ordering, fence};
