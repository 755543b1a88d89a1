//! Event channels: Xen's inter-domain interrupts.
//!
//! [`EventChannels`] is what a backend uses. Below it stand the FIFO ABI in shared memory, both
//! the consumer's side and the hypervisor's, which the simulated host
//! runs, the older two-level ABI for comparison, and `/dev/xen/evtchn`.
//! It knows nothing of grants, of xenstore, or of what an event is about.
//!
//! Invariant: an event sent after the receiver last looked is never lost; many may become one.

#![deny(unsafe_code)]

pub mod fifo;
pub mod linux;
mod memory;
mod sync;
pub mod two_level;

pub use memory::SharedMemory;

use abi::{DomId, Port};

/// Event channels as a process of a backend domain sees them.
///
/// *Delivery.* Readiness arrives as bytes on a file descriptor that the owner of the object
/// registers with its reactor (on Linux an array of ports, in the simulator a counter); the bytes
/// are given to [`EventChannels::pending`], which names the ports.
/// *Masking.* A port that was delivered stays masked until [`EventChannels::unmask`]. Whoever
/// unmasks must look at its ring once more afterwards: the edge may lie between (`event_channel.h`).
/// *Restriction.* Errors name the operation and the port; nothing here panics on a port that a
/// guest chose.
pub trait EventChannels {
    /// Connects to `remote_port` of `remote`. The new local port starts pending, so that no kick
    /// sent before the bind is lost (`event_channel.h`, EVTCHNOP_bind_interdomain).
    fn bind_interdomain(&mut self, remote: DomId, remote_port: Port) -> Result<Port, Error>;

    /// Allocates a port that `remote` may bind to.
    fn bind_unbound(&mut self, remote: DomId) -> Result<Port, Error>;

    /// Closes a local port. The peer's port falls back to unbound.
    fn unbind(&mut self, port: Port) -> Result<(), Error>;

    /// Sends an event to the peer of a local port: one system call.
    fn notify(&mut self, port: Port) -> Result<(), Error>;

    /// Lets a delivered port be delivered again.
    fn unmask(&mut self, port: Port) -> Result<(), Error>;

    /// Appends the ports that became pending to `ports`; `read` is what the descriptor gave.
    fn pending(&mut self, read: &[u8], ports: &mut Vec<Port>);

    /// System calls made so far.
    fn system_calls(&self) -> u64;
}

/// An event channel operation failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} of event channel port {port}")]
pub struct Error {
    /// What was being done.
    pub operation: &'static str,
    /// With which port; the remote one for a bind.
    pub port: Port,
    /// Why it failed.
    pub source: std::io::Error,
}
