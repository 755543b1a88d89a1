//! A directory that is gone when the test ends, and images in it.

use std::fs::{self, File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use disk::{Format, ImageSpec, OPEN_FLAGS, Prepared, Refusal, prepare};

/// A scratch directory.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// In the system's directory for temporary files.
    pub(crate) fn new() -> Self {
        Self::under(&std::env::temp_dir())
    }

    /// Somewhere else, as on a file system under test.
    pub(crate) fn under(parent: &Path) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("halcyon-disk-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a scratch directory");
        Self(path)
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// An image of this length, full of zeroes, with `bytes` at `offset`.
    pub(crate) fn image(&self, name: &str, len_bytes: u64, bytes: &[u8], offset: u64) -> PathBuf {
        use std::os::unix::fs::FileExt;
        let path = self.path(name);
        let file = File::create(&path).expect("an image");
        file.set_len(len_bytes).expect("its length");
        file.write_all_at(bytes, offset).expect("its bytes");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Opens as the one who opens images does.
pub(crate) fn open(path: &Path, read_only: bool) -> OwnedFd {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(!read_only)
        .custom_flags(OPEN_FLAGS);
    options.open(path).expect("the image opens").into()
}

/// Opens and prepares, with no format named.
pub(crate) fn unnamed(path: &Path, read_only: bool) -> Result<Prepared, Refusal> {
    let spec = ImageSpec {
        format: Format::Unnamed,
        path: path.to_owned(),
    };
    prepare(open(path, read_only), &spec, read_only)
}

/// Opens and prepares, with `raw:` said.
pub(crate) fn named_raw(path: &Path, read_only: bool) -> Result<Prepared, Refusal> {
    let spec = ImageSpec {
        format: Format::Raw,
        path: path.to_owned(),
    };
    prepare(open(path, read_only), &spec, read_only)
}
