//! Xenstore: the wire codec, a client, an in-memory server and the xenbus handshake.
//!
//! Client and server are sans-IO: bytes in, bytes out, no clock, no socket, no thread. Only
//! [`blocking`] owns a socket, for tools and tests. Nothing here knows what a device is.
//!
//! Invariants: no bytes from the other side can make this crate panic, and none can make it
//! allocate without bound (`io/xs_wire.h`: a payload has at most 4096 bytes).

#![forbid(unsafe_code)]
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

pub mod batch;
pub mod blocking;
pub mod client;
mod error;
mod path;
mod perms;
pub mod server;
pub mod wire;
pub mod xenbus;

pub use batch::{Batch, BatchId, Event, Reply, Step};
pub use client::Client;
pub use error::{Corrupt, StoreError};
pub use path::{BadPath, Path};
pub use perms::{Access, Perm};
pub use server::Server;
