//! Directories of a scene's own, removed with it.
//!
//! Invariant: the simulated host's directory has a short name, for sockets lie below it; images lie
//! where cargo builds, if this user may write there, for /tmp is often memory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// For the simulated host and for logs.
    pub(crate) fn short() -> Self {
        Self::below(&std::env::temp_dir()).unwrap()
    }

    /// For images.
    pub(crate) fn on_disk() -> Self {
        let built = Path::new(env!("CARGO_TARGET_TMPDIR"));
        Self::below(built).unwrap_or_else(|_| Self::short())
    }

    fn below(base: &Path) -> std::io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = base.join(format!("halcyon-i{}-{number}", std::process::id()));
        std::fs::create_dir(&dir)?;
        Ok(Self(dir))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
