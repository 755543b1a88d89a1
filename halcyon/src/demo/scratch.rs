//! The directory a demo works in, and the images in it: real blocks on a real file system, removed
//! afterwards whatever happened.
//!
//! Invariant: an image has no holes. Writes into a hole or into preallocated space have to change
//! the file's metadata, which the kernel will not do without waiting, and the numbers would be those
//! of the slow lane.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Doing as _, Failure};

/// Bytes written at once while an image is filled.
const FILL_BYTES: usize = 1 << 20;

/// A directory of our own that is removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    /// A new directory below $TMPDIR, else below /var/tmp: /tmp is often memory.
    pub fn new() -> Result<Self, Failure> {
        let base = std::env::var_os("TMPDIR").filter(|dir| !dir.is_empty());
        Self::below(&base.map_or_else(|| "/var/tmp".into(), PathBuf::from))
    }

    /// A new directory for the simulated host: its sockets need a short name, and its state wants
    /// to be in memory, where no write-back interferes.
    pub fn for_host() -> Result<Self, Failure> {
        let memory = Path::new("/dev/shm");
        Self::below(memory).or_else(|_| Self::below(Path::new("/tmp")))
    }

    fn below(base: &Path) -> Result<Self, Failure> {
        let unique = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.subsec_nanos());
        let dir = base.join(format!("halcyon-{}-{unique:x}", std::process::id()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&dir)
            .doing(|| format!("create scratch directory {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Writes an image of `len_bytes`; `fill` makes its content, given the offset of each piece.
    pub fn image(
        &self,
        name: &str,
        len_bytes: u64,
        mut fill: impl FnMut(u64, &mut [u8]),
    ) -> Result<PathBuf, Failure> {
        let path = self.dir.join(name);
        write(&path, len_bytes, &mut fill).doing(|| {
            format!(
                "write scratch image {} ({} MiB)",
                path.display(),
                len_bytes >> 20
            )
        })?;
        Ok(path)
    }
}

fn write(path: &Path, len_bytes: u64, fill: &mut dyn FnMut(u64, &mut [u8])) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    let mut piece = vec![0; FILL_BYTES];
    let mut at = 0;
    while at < len_bytes {
        let len = usize::try_from(len_bytes - at).map_or(FILL_BYTES, |left| left.min(FILL_BYTES));
        fill(at, &mut piece[..len]);
        file.write_all(&piece[..len])?;
        at += len as u64;
    }
    file.sync_all()
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!("remove {}: {error}", self.dir.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn an_image_is_filled_as_told_and_has_no_holes() {
        let scratch = Scratch::new().unwrap();
        let fill = |at: u64, bytes: &mut [u8]| bytes.fill(if at == 0 { 1 } else { 2 });
        let path = scratch.image("a", (1 << 20) + 4096, fill).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(
            (bytes[0], bytes[1 << 20], bytes.len()),
            (1, 2, (1 << 20) + 4096)
        );
        assert!(fs::metadata(&path).unwrap().blocks() * 512 >= bytes.len() as u64);
    }

    #[test]
    fn a_scratch_directory_is_gone_when_dropped() {
        let path = Scratch::new().unwrap().path().to_owned();
        assert!(!path.exists());
    }
}
