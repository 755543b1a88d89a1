//! `halcyon-bench`: what `halcyon bench` executes.

fn main() {}
