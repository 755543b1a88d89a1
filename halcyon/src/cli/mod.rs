//! The command line: what may be asked, and the names of places it is asked about.

pub mod args;
pub mod bench;
pub mod place;
