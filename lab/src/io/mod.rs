//! The parts of `lab-io`, the tool that makes and checks I/O inside guests: loads whose every sector is
//! known, and rates.
//!
//! It works on a block device or on a file of a file system, through an io_uring of its own, so that
//! it shares no code with what it tests; only the stamps and the model of a disk come from `sim`. It
//! knows nothing of Xen.
//!
//! Invariant: no two requests under way touch the same sector, so what a read must find is known
//! when it is submitted, and what a whole load leaves behind follows from its seed alone.

pub mod amount;
mod cpu;
mod diagnose;
mod failure;
mod load;
mod plan;
mod queue;
mod rate;
mod target;
mod verify;

pub use failure::{Content, Failure, Mismatch};
pub use load::{Outcome, Pace, write_verify};
pub use plan::{Op, Order, Plan, Request};
pub use rate::{Pattern, Rate, RateOrder, rate};
pub use target::Target;
pub use verify::{Verified, verify};

/// Bytes of a sector, the unit of stamps.
pub const SECTOR_BYTES: u64 = abi::SECTOR_SIZE as u64;
