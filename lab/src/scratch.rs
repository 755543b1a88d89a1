//! Directories for tests: empty at first, gone with the value.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use crate::cache;

/// One directory.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("lab-{name}-{}", std::process::id()));
        cache::remove(&dir).expect("removable");
        std::fs::create_dir_all(&dir).expect("creatable");
        Self(dir)
    }
}

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        cache::remove(&self.0).expect("removable");
    }
}
