//! What a load works on: a block device, or a file of a file system, opened past the page cache
//! where that is possible.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Seek as _, SeekFrom};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::SECTOR_BYTES;
use super::failure::Failure;

/// Requests on a file system's file are multiples of its block, so that none needs a
/// read-modify-write below the load.
const FILE_UNIT_BYTES: u64 = 4096;

/// Something to read and write.
#[derive(Debug)]
pub struct Target {
    pub(super) file: File,
    /// How it was named, for messages.
    pub(super) name: String,
    /// How large it is.
    pub(super) bytes: u64,
    /// The smallest request.
    pub(super) unit_bytes: u64,
}

impl Target {
    /// Opens a device or file for reading.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        Self::open(path, OpenOptions::new().read(true))
    }

    /// Opens a device or file for reading and writing.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn write(path: &Path) -> Result<Self, Failure> {
        Self::open(path, OpenOptions::new().read(true).write(true))
    }

    /// Makes a file of that size, sparse, where there is none, and opens it.
    ///
    /// # Errors
    /// It cannot be made or opened.
    pub fn create(path: &Path, bytes: u64) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        let mut target = Self::open(path, options.read(true).write(true).create(true))?;
        if target.bytes < bytes {
            let grown = target.file.set_len(bytes);
            grown.map_err(Failure::io(format!("making {} longer", target.name)))?;
            target.bytes = bytes;
        }
        Ok(target)
    }

    fn open(path: &Path, options: &mut OpenOptions) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let opening = || format!("opening {name}");
        let mut file = match options.custom_flags(libc::O_DIRECT).open(path) {
            // tmpfs and the initial root file system know no O_DIRECT.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                options.custom_flags(0).open(path)
            }
            opened => opened,
        }
        .map_err(Failure::io(opening()))?;
        let metadata = file.metadata().map_err(Failure::io(opening()))?;
        let device = metadata.file_type().is_block_device();
        if !device && !metadata.is_file() {
            let refused = format!("{name} is neither a block device nor a regular file");
            return Err(Failure::Usage(refused));
        }
        let bytes = file
            .seek(SeekFrom::End(0))
            .map_err(Failure::io(opening()))?;
        let unit_bytes = if device {
            SECTOR_BYTES
        } else {
            FILE_UNIT_BYTES
        };
        Ok(Self {
            file,
            name,
            bytes,
            unit_bytes,
        })
    }

    /// How large it is.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The whole of it, or the part that was asked for.
    ///
    /// # Errors
    /// The part does not lie in it.
    pub fn part(
        &self,
        asked: Option<std::ops::Range<u64>>,
    ) -> Result<std::ops::Range<u64>, Failure> {
        let part = asked.unwrap_or(0..self.bytes);
        if part.end > self.bytes {
            let Self { name, bytes, .. } = self;
            let refused = format!("{name} has {bytes} bytes, the range ends at {}", part.end);
            return Err(Failure::Usage(refused));
        }
        Ok(part)
    }
}
