//! The parts of the `halcyon` command.
//!
//! The binary is a thin `main` over [`cli`]; everything is here so that tests can link the very
//! code that ships and put their own parts in place of ours.

#![deny(unsafe_code)]

pub mod broker;
pub mod check;
pub mod cli;
pub mod demo;
pub mod error;
pub mod guest;
pub mod host;
pub mod libxl;
pub mod log;
pub mod malloc;
pub mod proc;
pub mod report;
pub mod signals;
pub mod simctl;
pub mod stats;
pub mod vm;
