//! The world form of the simulation, one claim at a time.

mod conformance;

use libtest_mimic::Arguments;

fn main() {
    libtest_mimic::run(&Arguments::from_args(), conformance::trials()).exit();
}
