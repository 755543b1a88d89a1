//! The lab: real Xen in an emulated machine, and guests against the project's own programs.
//!
//! It knows nothing of Halcyon beyond how to build it; what is expected of it stands in the
//! scenarios. Invariant: nothing outside its own cache is changed on the host, and nothing that it
//! started outlives it.

#![deny(unsafe_code)]

pub mod cache;
pub mod cli;
pub mod commands;
pub mod cpio;
pub mod elf;
pub mod error;
pub mod image;
pub mod io;
pub mod machine;
pub mod outcome;
pub mod packages;
pub mod payload;
pub mod qemu;
pub mod run;
pub mod scenario;
#[cfg(test)]
mod scratch;
pub mod stack;
pub mod tools;
