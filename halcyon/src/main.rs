//! The halcyon command.
fn main() {}
