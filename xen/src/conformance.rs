//! The suite that every implementation of the platform passes.
