//! A blkif backend: serves one virtual block device of one guest.
//!
//! ```text
//!   xenstore ──► connect ──► config            one batch at a time, one decision per answer
//!                   │ Offer
//!                   ▼
//!  ring page ──► worker ──► request ──► segments        copied once, judged, then used
//!                   │  ▲        │
//!           grants.copy│     inflight                   what was taken and not yet answered
//!                   ▼  │        ▼
//!                 leases ◄──► Disk (through the reactor)
//! ```
//!
//! [`Device`] is what the loop of a VM process drives: it is told that something happened and
//! works in bounded turns. It opens no path, never waits and reads no clock. Data travels from the
//! disk to a lease and from there to the guest, so that a guest's page is never lent to storage.
//!
//! Three kinds of trouble have three types: a request that may not be executed is
//! [`request::Refused`] and gets an answer; a ring that makes no sense is `ring::Corrupt` and
//! closes its device; a device that cannot be served is a [`Refusal`] and goes to the operator.
//!
//! | limit | value | from |
//! |---|---|---|
//! | ring pages | 1 | nothing more is advertised |
//! | rings of a device | 1 | nothing more is advertised |
//! | slots of a ring | 32 | (4096 - 64) / 112 and / 108, rounded down to a power of two |
//! | requests taken per turn | 32 | a whole ring; [`worker::BATCH`] |
//! | requests in flight | 32 | a whole ring; [`inflight::ENTRIES`] |
//! | segments of a request | 11 | `BLKIF_MAX_SEGMENTS_PER_REQUEST` |
//! | bytes of a request | 44 KiB | 11 pages; the size of a lease |
//! | leases of a connected device | 32 | one per request in flight |
//! | grant copy operations per turn | 352 | 32 requests of 11 segments |
//! | store batches under way | 1 | whatever happens meanwhile is one more look |
//! | event channel port | < 2^17 | the FIFO ABI |
//! | `protocol` | 63 bytes | longest text read from a frontend |
//! | cool-down | 1 s after the last response | one-shot; [`cooling::COOL_DOWN_NS`] |

#![forbid(unsafe_code)]

mod attach;
pub mod config;
mod connect;
pub mod cooling;
mod copies;
pub mod device;
pub mod inflight;
pub mod report;
pub mod request;
pub mod segments;
mod stats;
mod store;
mod values;
mod wire;
pub mod worker;

pub use config::Mode;
pub use device::{Ask, Context, Device, DeviceId, LockBy, Medium};
pub use report::Refusal;
pub use stats::Counts;
pub use worker::Turn;
