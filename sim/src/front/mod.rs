//! Fake frontends: what runs in a simulated guest. Good ones that check everything a backend does,
//! and hostile ones that do everything a guest can.
//!
//! All are sans-IO: they are driven by xenstore events, by their port and by calls, and work in a
//! live guest's process as in a world. They know nothing of how a backend is built.
//!
//! Invariant: a frontend trusts a backend no more than the other way round: what it answers is
//! checked against what was asked.

use evtchn::EventChannels;
use xenstore::client::Client;

use crate::grants::Table;
use crate::memory::{Frames, GuestMemory};

pub mod blkfront;
pub mod hostile;
#[cfg(test)]
mod tests;
pub mod workload;

pub use blkfront::{Blkfront, Config, Done, Io, Kind, Outcome, Phase, Properties, Violation};
pub use hostile::{Hostile, Script};
pub use workload::{Initial, Model, Pattern, Plan, Workload};

/// What a guest's kernel lends to its drivers for the length of a call.
pub struct Kernel<'a> {
    /// The guest's memory.
    pub memory: &'a GuestMemory,
    /// Which frames of it are free.
    pub frames: &'a mut Frames,
    /// Its grant table.
    pub grants: &'a mut Table,
    /// Its event channels.
    pub events: &'a mut dyn EventChannels,
    /// Its xenstore connection. What it puts out is the owner's to send; the owner gives every
    /// event to every frontend.
    pub store: &'a mut Client,
}
