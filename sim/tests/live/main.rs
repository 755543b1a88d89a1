//! The live simulation as real processes: host, guests and backends.
//!
//! This binary is every process: it starts itself again to play a part.

mod conformance;
mod death;
mod support;
mod toolstack;

use libtest_mimic::Arguments;

fn main() {
    if support::plays_a_part() {
        return;
    }
    let mut trials = conformance::trials();
    trials.extend(death::trials());
    trials.extend(toolstack::trials());
    // A process that one trial starts would hold the descriptors of the others until it executes,
    // and put off the end of connections that they have closed.
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit();
}
