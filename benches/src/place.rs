//! On which processor a thread runs.
//!
//! UNSAFETY: `sched_setaffinity` takes a pointer to a set of processors.
#![expect(unsafe_code, reason = "a system call; see the head of this file")]

use std::io;
use std::sync::OnceLock;

/// Keeps the calling thread on one processor.
pub fn pin(cpu: usize) -> io::Result<()> {
    processors();
    set(0, cpu)
}

/// Keeps the first task of a process, and the tasks that it starts from now on, on one processor.
pub fn pin_process(pid: u32, cpu: usize) -> io::Result<()> {
    set(pid.cast_signed(), cpu)
}

fn set(pid: libc::pid_t, cpu: usize) -> io::Result<()> {
    // SAFETY: a set of processors is plain bits, and no bits are a valid set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: writes within the set; a number beyond it sets nothing.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set lives until the call returns, and the length is its own.
    match unsafe { libc::sched_setaffinity(pid, size_of_val(&set), &raw const set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// How many processors this process may run on; those that a thread was kept on do not matter.
pub fn processors() -> usize {
    static BEFORE_ANY_PIN: OnceLock<usize> = OnceLock::new();
    let count = || std::thread::available_parallelism().map_or(1, usize::from);
    *BEFORE_ANY_PIN.get_or_init(count)
}
