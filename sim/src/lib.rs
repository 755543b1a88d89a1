//! A simulated Xen host: guests with memory, grant tables and event channels, and a xenstore.
//!
//! Two forms from one code base. *Live*: guests and backends are separate processes, and one
//! quiet host process ([`live::host`]) stands in for the hypervisor when they bind, map or die.
//! *World*: one thread, virtual time, one seed. It knows nothing of backends.
//!
//! Invariant: what a guest or a backend gets to see is what Xen would show it; where the
//! simulation differs, the module that differs says so at its top.

#![deny(unsafe_code)]

pub mod front;
pub mod grants;
pub mod live;
pub mod memory;
pub mod probe;
mod sys;
pub mod toolstack;
pub mod world;
