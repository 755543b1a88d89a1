//! The FIFO event channel ABI in shared memory, both sides of it.
//!
//! A domain shares a control block (which queues hold events, where each begins) and an event array
//! (a word per port: PENDING, MASKED, LINKED, BUSY and the next port of the queue). The hypervisor
//! links a port to the queue of its priority; the domain takes ports out.
//!
//! | file | what |
//! |---|---|
//! | `queues` | [`Queues`]: the hypervisor's side, as the simulated host and its clients use it |
//! | `consumer` | [`Consumer`]: the domain's side |
//! | `send`, `recover`, `lock`, `private` | the algorithm behind `Queues` |
//! | `scan` | the algorithm behind `Consumer` |
//! | `words` | what both see of memory |
//!
//! The algorithm's files name their neighbours only as `super::`, so that `tests/loom` and
//! `tests/kill` can compile them a second time beside another `sync`.
//! Nothing here knows what an upcall is made of, or to whom a port is bound.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

mod consumer;
mod lock;
mod private;
mod queues;
mod recover;
mod scan;
mod send;
mod words;

pub use consumer::Consumer;
pub use private::{Client, PRIVATE_BYTES};
pub use queues::Queues;
pub use send::Raise;
pub use words::Words;

use crate::sync;

/// A part of the memory is smaller than what has to fit in it, or not aligned to 4 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part} of {len_bytes} bytes is too small or not aligned to 4 bytes")]
pub struct Unfit {
    /// Which part.
    pub part: &'static str,
    /// Its size.
    pub len_bytes: usize,
}

/// Checks that a part is as long as needed and that its words can be reached.
fn fit(
    part: &'static str,
    memory: &impl crate::SharedMemory,
    needed_bytes: usize,
) -> Result<(), Unfit> {
    let slice = memory.slice();
    let len_bytes = slice.len();
    let reachable = len_bytes >= needed_bytes && slice.word(0).is_some();
    reachable.then_some(()).ok_or(Unfit { part, len_bytes })
}
