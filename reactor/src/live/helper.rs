//! A thread that leaves nothing behind.
//!
//! Threads of std would do but for memory: glibc keeps their stacks, and gives each its own malloc
//! arena for the few allocations that std makes in it. Eight of them leave 130 KiB in a process
//! that is to need 300 KiB in all. So a helper runs on a stack of ours, unmapped once it has ended,
//! and what it does does not allocate.
//!
//! UNSAFETY: the thread interface of libc.
//!
//! Invariant: the stack of a helper stays mapped until its thread has ended; dropping a helper
//! waits for that.
#![expect(unsafe_code, reason = "threads of libc; see the head of this file")]

use std::ffi::{CStr, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};

/// A system call, the locks around it and the thread-local storage take one or two pages of it;
/// pages that are not touched cost nothing.
const STACK_BYTES: usize = 64 << 10;
/// Below the stack, never accessible: a page of the largest size that Linux is built with.
const GUARD_BYTES: usize = 64 << 10;

/// What a helper does until it is no longer needed. It should not allocate, nor free: memory of a
/// second malloc arena stays with the process, unless there is only one by decree (`M_ARENA_MAX`).
pub trait Work: Send + Sync + 'static {
    /// The name of the thread, of at most 15 bytes, for whoever looks into /proc.
    const NAME: &CStr;

    /// The life of the thread.
    fn work(&self);
}

/// A thread that runs, or has ended and was not joined yet.
pub struct Helper {
    thread: libc::pthread_t,
    joined: bool,
    _stack: MmapRaw,
}

impl Helper {
    /// Starts a thread. Fails as mmap and pthread_create do.
    pub fn start<T: Work>(shared: &Arc<T>) -> io::Result<Self> {
        let stack = MmapRaw::from(
            MmapOptions::new()
                .len(GUARD_BYTES + STACK_BYTES)
                .map_anon()?,
        );
        // SAFETY: the range is the lower part of a mapping of ours that nothing uses yet.
        match unsafe { libc::mprotect(stack.as_mut_ptr().cast(), GUARD_BYTES, libc::PROT_NONE) } {
            0 => Ok(Self {
                thread: create(&stack, Arc::into_raw(Arc::clone(shared)))?,
                joined: false,
                _stack: stack,
            }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Whether the thread has ended; its stack can go then.
    pub fn has_ended(&mut self) -> bool {
        if !self.joined {
            // SAFETY: the thread was not joined yet.
            let joined = unsafe { libc::pthread_tryjoin_np(self.thread, ptr::null_mut()) };
            self.joined = joined == 0;
        }
        self.joined
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        if !self.joined {
            // SAFETY: the thread was not joined yet.
            unsafe { libc::pthread_join(self.thread, ptr::null_mut()) };
        }
    }
}

/// Starts a thread on the upper part of `stack`, which takes over the reference `shared`.
fn create<T: Work>(stack: &MmapRaw, shared: *const T) -> io::Result<libc::pthread_t> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::zeroed();
    let mut thread = MaybeUninit::<libc::pthread_t>::zeroed();
    // SAFETY: the pointer is to attributes of ours.
    let initialised = unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) };
    let bottom = stack.as_mut_ptr().wrapping_add(GUARD_BYTES).cast();
    // SAFETY: as above; the range is mapped, and stays so until the thread has ended.
    let placed =
        unsafe { libc::pthread_attr_setstack(attributes.as_mut_ptr(), bottom, STACK_BYTES) };
    let argument = shared.cast_mut().cast();
    // SAFETY: all pointers are to values of ours; `run` takes what `argument` is.
    let created = unsafe {
        libc::pthread_create(thread.as_mut_ptr(), attributes.as_ptr(), run::<T>, argument)
    };
    // SAFETY: the attributes are initialised and no longer needed.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    if let Some(error) = [initialised, placed, created]
        .into_iter()
        .find(|error| *error != 0)
    {
        // SAFETY: no thread has taken the reference over.
        drop(unsafe { Arc::from_raw(shared) });
        return Err(io::Error::from_raw_os_error(error));
    }
    // SAFETY: pthread_create succeeded.
    Ok(unsafe { thread.assume_init() })
}

/// Where a helper starts. A panic would end the process here, as one cannot unwind out of C.
extern "C" fn run<T: Work>(argument: *mut c_void) -> *mut c_void {
    // SAFETY: `create` passes a reference that is ours now.
    let shared = unsafe { Arc::from_raw(argument.cast_const().cast::<T>()) };
    // SAFETY: no arguments.
    let this = unsafe { libc::pthread_self() };
    // SAFETY: the name is a string of C.
    unsafe { libc::pthread_setname_np(this, T::NAME.as_ptr()) };
    shared.work();
    ptr::null_mut()
}
