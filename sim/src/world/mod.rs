//! Worlds: a simulated host in one thread and virtual time, driven by one seed.
//!
//! Guests, VM processes, disks and xenstore are stepped in an order that the seed decides; the
//! hypervisor's side is the live host's own code. Nothing here knows what a VM process does: it
//! is a value that can be stepped.
//!
//! Invariant: the same seed gives the same trace, on every machine and in every build.

pub mod drive;
pub mod host;
pub mod process;
pub mod rng;
pub mod trace;

pub use drive::{Drive, Fate};
pub use host::Host;
pub use process::{Possible, Process, Progress, Running, Spawn, Start};
pub use rng::Rng;
pub use trace::Trace;
