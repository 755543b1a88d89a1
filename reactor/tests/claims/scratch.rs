//! Files to work on that vanish by themselves.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// A file of 256 KiB without a name in `directory`.
pub(crate) fn scratch(directory: &Path, flags: i32) -> File {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = directory.join(format!("reactor-{}-{next}", std::process::id()));
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create_new(true)
        .custom_flags(flags);
    let file = options.open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    file.set_len(256 << 10).unwrap();
    file
}
