//! Claims that every disk passes.
