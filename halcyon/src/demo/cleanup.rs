//! Ctrl-C in the middle of a demo: the scratch files go, and so does the process.

use std::path::{Path, PathBuf};

use crate::error::{Doing as _, Failure};
use crate::signals;

/// The exit code of a shell for a process that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// From now on SIGINT and SIGTERM remove these directories and end the process. The processes it
/// started end with their pipes, their host or their guest.
pub fn on_interrupt(dirs: &[&Path]) -> Result<(), Failure> {
    let dirs: Vec<PathBuf> = dirs.iter().map(|dir| dir.to_path_buf()).collect();
    signals::block().doing(|| "block signals".into())?;
    std::thread::spawn(move || {
        if signals::wait().is_err() {
            return;
        }
        for dir in dirs {
            if let Err(error) = std::fs::remove_dir_all(&dir) {
                tracing::warn!("remove {}: {error}", dir.display());
            }
        }
        std::process::exit(INTERRUPTED);
    });
    Ok(())
}
