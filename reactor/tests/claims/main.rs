//! What this crate claims about its reactors, tested through its public interface.

mod conformance;
mod live;
mod scratch;
mod uring_subject;
mod world_subject;
