//! A signal to the calling thread after a while, to end one system call that has no time-out.
//!
//! UNSAFETY: timers, signal masks and handlers have no safe form in the standard library.
//!
//! It does not know which call it ends.
//! Invariant: once an [`Alarm`] is dropped its timer is gone and the thread's signal mask is what
//! it was. The handler, which does nothing, stays: another thread's alarm may still need it.

#![expect(unsafe_code, reason = "timers and signals without a safe form")]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::time::Duration;

use libc::c_int;

/// How often the signal comes again after the first. One that arrives just before the system call
/// begins interrupts nothing.
const AGAIN: Duration = Duration::from_millis(20);

/// A timer that interrupts this thread.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: libc::timer_t,
    mask: libc::sigset_t,
}

impl Alarm {
    /// Interrupts the calling thread after `delay`, then again and again until it is dropped.
    pub(super) fn after(delay: Duration) -> io::Result<Self> {
        ignore()?;
        let timer = timer_for_this_thread()?;
        let alarm = Self {
            timer,
            mask: unblock(),
        };
        // A value of zero would disarm the timer.
        let delay = delay.max(Duration::from_nanos(1));
        let times = libc::itimerspec {
            it_interval: spec(AGAIN),
            it_value: spec(delay),
        };
        // SAFETY: the timer exists, the times are ours, and the old ones are not asked for.
        check(unsafe { libc::timer_settime(timer, 0, &raw const times, ptr::null_mut()) })?;
        Ok(alarm)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // SAFETY: the timer exists and is deleted only here. Its signal, if still pending, is
        // delivered to the empty handler on the way out of this call.
        unsafe { libc::timer_delete(self.timer) };
        // SAFETY: the mask is the one this thread had; `timer_t` keeps the alarm in its thread.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.mask, ptr::null_mut()) };
    }
}

/// A real-time signal that neither the C library nor the Rust runtime uses.
fn signal() -> c_int {
    libc::SIGRTMIN() + 3
}

/// Installs the empty handler, once: the default action would end the process, and SA_RESTART
/// would put the thread back to sleep.
fn ignore() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    let install = || install().map_err(|error| error.raw_os_error().unwrap_or(libc::EINVAL));
    INSTALLED
        .get_or_init(install)
        .map_err(io::Error::from_raw_os_error)
}

fn install() -> io::Result<()> {
    extern "C" fn nothing(_signal: c_int) {}
    let handler: extern "C" fn(c_int) = nothing;
    // SAFETY: all zeroes is a valid sigaction: no flags, an empty mask, the default action.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler as libc::sighandler_t;
    // SAFETY: the action is ours, and its handler touches nothing.
    check(unsafe { libc::sigaction(signal(), &raw const action, ptr::null_mut()) })
}

fn timer_for_this_thread() -> io::Result<libc::timer_t> {
    // SAFETY: all zeroes is a valid sigevent.
    let mut event: libc::sigevent = unsafe { MaybeUninit::zeroed().assume_init() };
    event.sigev_notify = libc::SIGEV_THREAD_ID;
    event.sigev_signo = signal();
    // SAFETY: gettid has no arguments and cannot fail.
    event.sigev_notify_thread_id = unsafe { libc::gettid() };
    let mut timer: libc::timer_t = ptr::null_mut();
    // SAFETY: event and timer are ours.
    check(unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) })?;
    Ok(timer)
}

/// Lets the signal through to this thread; returns the mask it had.
fn unblock() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    let mut old = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the set is ours.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set is initialised and the signal is a valid number.
    unsafe { libc::sigaddset(set.as_mut_ptr(), signal()) };
    // SAFETY: both sets are ours. It can fail for a bad first argument only.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), old.as_mut_ptr()) };
    // SAFETY: the call has filled it.
    unsafe { old.assume_init() }
}

fn spec(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(duration.subsec_nanos().cast_signed()),
    }
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
