//! What the benchmarks share: a rig for devices in one process, processors to run on, and the
//! parts of `halcyon-bench`.

#![deny(unsafe_code)]

pub mod disk;
pub mod grants;
pub mod hypercalls;
pub mod machine;
pub mod place;
pub mod rig;
pub mod table;
