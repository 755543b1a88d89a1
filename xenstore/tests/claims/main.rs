//! What this crate claims, one test each. Everything but `blocking` runs without sockets.

mod blocking;
mod client;
mod codec;
mod domains;
mod handshake;
mod hostile;
mod model;
mod nodes;
mod permissions;
mod quotas;
mod scale;
mod transactions;
mod watches;

#[path = "../support/bench.rs"]
mod bench;
#[path = "../support/host.rs"]
mod host;

use proptest::test_runner::{Config, RngSeed};

/// The seed of every property test.
const SEED: u64 = 0x7873_7764;

/// How property tests run: always the same cases, at least `least` of them. `PROPTEST_CASES` may
/// raise the number, never lower it.
fn config(least: u32) -> Config {
    let wanted = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok());
    let cases = least.max(wanted.unwrap_or(0));
    println!("{cases} cases, seed {SEED:#x}");
    let rng_seed = RngSeed::Fixed(SEED);
    Config {
        cases,
        rng_seed,
        failure_persistence: None,
        ..Config::default()
    }
}
