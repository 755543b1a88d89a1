//! The processor time that this process has used.
//!
//! UNSAFETY: one system call that fills in a structure.
#![expect(unsafe_code, reason = "getrusage; see the head of this file")]

use std::time::Duration;

/// User and system time of all threads of this process.
pub(super) fn used() -> Duration {
    // SAFETY: all zeroes is a valid `rusage`, which is made of integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is writable and of the type that the call fills in.
    let answer = unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    assert_eq!(answer, 0, "getrusage fails for bad arguments only");
    duration(usage.ru_utime) + duration(usage.ru_stime)
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}
