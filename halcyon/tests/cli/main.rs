//! The `halcyon` binary as its users meet it: every line it says, and every exit code.

mod bad_input;
mod device_model;
mod guest;
mod handover;
mod host_daemon;
mod process;
mod script;
mod session;
mod support;
