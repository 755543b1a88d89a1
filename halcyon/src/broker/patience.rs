//! How long is waited before a device is served, or refused.
//!
//! libxl withdraws a device 10 s after it has made it (`LIBXL_INIT_TIMEOUT`, counted from the
//! commit of its nodes), and what is said of it later nobody reads. So whatever comes before
//! InitWait has one budget that ends well before: starting the process, its claim, and the image,
//! for which the daemon may have to be waited for, its file system, and whoever has its lock.
//! Afterwards libxl does not wait any more, and there is time for a handover.
//!
//! Invariant: the parts of the budget are no more than the whole.

use std::time::Duration;

use blkback::LockBy;

/// Everything before InitWait: what is left of libxl's 10 s is for starting the process, for
/// finding out who has an image, and for the script that says so.
pub const BEFORE_INIT_WAIT: Duration = Duration::from_secs(6);

/// For the claim: whoever has it is about to end, or serves and will not.
pub const CLAIM: Duration = Duration::from_secs(1);

/// For an image, from the question to its lock.
#[must_use]
pub fn image(lock_by: LockBy) -> Duration {
    match lock_by {
        LockBy::Connect => BEFORE_INIT_WAIT.saturating_sub(CLAIM),
        LockBy::Now => disk::lock::LIMIT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_comes_while_libxl_still_listens() {
        let libxl_init_timeout = Duration::from_secs(10);
        let before = CLAIM + image(LockBy::Connect);
        assert!(before <= BEFORE_INIT_WAIT);
        assert!(BEFORE_INIT_WAIT + Duration::from_secs(3) < libxl_init_timeout);
    }
}
