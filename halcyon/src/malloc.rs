//! The C library's allocator, told to keep little: a thousand processes pay for what one keeps.
//!
//! UNSAFETY: mallopt and malloc_trim are calls of the C library with integers for arguments. Other
//! C libraries than glibc have neither, and need neither.

#![expect(
    unsafe_code,
    reason = "mallopt and malloc_trim are calls of the C library"
)]

/// One arena for all threads (a helper thread's own would cost pages that stay), and large blocks
/// go back to the system when freed.
pub fn for_a_small_process() {
    #[cfg(target_env = "gnu")]
    for (option, value) in [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_THRESHOLD, 64 << 10)] {
        // SAFETY: integers only; called before any other thread exists.
        let understood = unsafe { libc::mallopt(option, value) };
        debug_assert_eq!(understood, 1, "glibc knows both options");
    }
}

/// Gives free heap pages back to the system.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: an integer only; it takes the allocator's own lock.
        let released = unsafe { libc::malloc_trim(0) };
        tracing::trace!("heap trimmed: {released}");
    }
}
