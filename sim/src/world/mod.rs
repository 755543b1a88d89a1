//! Worlds: a simulated host in one thread and virtual time, driven by one seed.
//!
//! Guests, VM processes, disks and xenstore are stepped in an order that the seed decides; the
//! hypervisor's side is the live host's own code. Nothing here knows what a VM process does: it
//! is a value that can be stepped ([`Process`]).
//!
//! Invariant: the same seed gives the same trace, on every machine and in every build.

mod build;
mod drive;
pub mod guest;
mod host;
pub mod process;
mod rng;
mod run;
mod tool;
mod trace;

pub use drive::{Drive, Fate};
pub use host::{Backend, ClientId, Host};
pub use process::{DriveSlots, Process, Progress, Spawn, Start};
pub use rng::Rng;
pub use run::{Ending, Failure, Odd, Report, Tally, play, run};
pub use trace::Trace;
