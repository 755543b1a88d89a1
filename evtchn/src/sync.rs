//! Where the FIFO algorithm gets its atomics and its waiting from.
//!
//! The models of `tests/loom` and `tests/kill` compile the algorithm's files a second time and
//! put another module of this name beside them. It knows nothing of what is waited for.
//! Invariant: waiting is bounded.

pub(crate) use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Rounds of a wait that only spin: a lock is held for some fifty nanoseconds.
const SPIN_ROUNDS: u32 = 64;
/// Rounds that give the processor away: the holder may have been preempted on this one.
const YIELD_ROUNDS: u32 = 1024;
/// What a later round sleeps. By now the holder is stopped or dead; the simulated host notices a
/// death within milliseconds.
const SLEEP: Duration = Duration::from_micros(50);
/// Rounds until the wait is given up: at least ten seconds of sleeping, after which the host that
/// should have recovered the lock is taken to be gone too.
const ROUNDS_MAX: u32 = SPIN_ROUNDS + YIELD_ROUNDS + 200_000;

/// Waits a little before another look; false when it is time to give up.
pub(crate) fn pause(round: u32) -> bool {
    match round {
        0..SPIN_ROUNDS => std::hint::spin_loop(),
        SPIN_ROUNDS..YIELD_ROUNDS => std::thread::yield_now(),
        YIELD_ROUNDS..ROUNDS_MAX => std::thread::sleep(SLEEP),
        ROUNDS_MAX.. => return false,
    }
    true
}
