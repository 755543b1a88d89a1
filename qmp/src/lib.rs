//! A server of QMP, the protocol in which toolstacks command a device model: JSON objects over a
//! stream, one answer to each command.
//!
//! ```text
//!  bytes ──► frames ──► request ──► Commands (the owner's) ──► answer ──► bytes
//! ```
//!
//! It knows no device, no socket and no clock: a [`Session`] is one connection, is given what
//! arrived and gives what is to be sent. Clients in the field write several commands in a row,
//! write before they have read the greeting, and end a command with a line break or with nothing,
//! so a message ends where its object does.
//!
//! | limit | value | from |
//! |---|---|---|
//! | bytes of a message | 64 KiB | [`frames::MESSAGE_MAX`] |
//! | nesting of a message | 32 | [`frames::DEPTH_MAX`] |
//! | answers waiting to be sent | 1 | the next command is executed when the answer has left |
//!
//! Invariant: whatever arrives, a session neither panics nor grows beyond one message, one answer
//! and what it was given at once.

#![forbid(unsafe_code)]

pub mod frames;
mod request;
mod session;

pub use request::{Class, Command, Failed};
pub use session::{Commands, Session, Version};
