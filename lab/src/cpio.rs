//! Writes the archive format that Linux unpacks into its first root file system ("newc").
//!
//! It knows nothing of what goes in. Invariant: entries are owned by root and dated 0, so that the
//! same content is the same archive. The kernel unpacks archives that follow one another, later
//! entries over earlier ones, an uncompressed one only from an offset that is a multiple of 4.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::error::{Doing as _, Failure};

/// File types in `c_mode`.
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
/// The name that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// An archive in the making.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a directory; those before it must be there already.
    pub fn directory(&mut self, name: &str) -> Result<(), Failure> {
        self.entry(name, DIRECTORY | 0o755, &[])
    }

    /// Adds a file with these permission bits.
    pub fn file(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<(), Failure> {
        self.entry(name, REGULAR | (mode & 0o7777), content)
    }

    /// Adds everything below `dir` under the names it has there, in sorted order.
    pub fn tree(&mut self, dir: &Path) -> Result<(), Failure> {
        self.below(dir, "")
    }

    fn below(&mut self, dir: &Path, prefix: &str) -> Result<(), Failure> {
        let what = || format!("archiving {}", dir.display());
        let mut entries = fs::read_dir(dir)
            .doing(what)?
            .collect::<Result<Vec<_>, _>>()
            .doing(what)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let path = entry.path();
            let metadata = entry.metadata().doing(what)?;
            if metadata.is_dir() {
                self.directory(&name)?;
                self.below(&path, &format!("{name}/"))?;
            } else if metadata.is_symlink() {
                let target = fs::read_link(&path).doing(what)?;
                self.entry(
                    &name,
                    SYMLINK | 0o777,
                    target.as_os_str().as_encoded_bytes(),
                )?;
            } else {
                let content = fs::read(&path).doing(|| format!("reading {}", path.display()))?;
                self.file(&name, metadata.permissions().mode(), &content)?;
            }
        }
        Ok(())
    }

    /// One header of thirteen 8-digit hexadecimal fields, the name, the content, each padded to 4.
    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<(), Failure> {
        let too_big = |_| Failure::new(format!("{name} does not fit a cpio archive"));
        let len = u32::try_from(content.len()).map_err(too_big)?;
        let name_len = u32::try_from(name.len() + 1).map_err(too_big)?;
        self.entries += 1;
        // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
        let fields = [self.entries, mode, 0, 0, 1, 0, len, 0, 0, 0, 0, name_len, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// The finished archive.
    pub fn finish(mut self) -> Result<Vec<u8>, Failure> {
        self.entry(TRAILER, 0, &[])?;
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_header_a_name_and_a_padded_content() {
        let mut archive = Archive::default();
        archive.file("init", 0o755, b"#!").expect("fits");
        let bytes = archive.finish().expect("fits");
        assert_eq!(&bytes[..14], b"07070100000001");
        assert_eq!(&bytes[14..22], b"000081ed");
        assert_eq!(&bytes[110..120], b"init\0\0#!\0\0");
        assert_eq!(&bytes[120..126], b"070701");
    }

    #[test]
    fn an_archive_ends_with_its_trailer_on_a_multiple_of_four() {
        let bytes = Archive::default().finish().expect("fits");
        assert_eq!(bytes.len() % 4, 0);
        assert!(bytes[110..].starts_with(b"TRAILER!!!\0"));
    }

    #[test]
    fn a_tree_is_archived_in_sorted_order_with_its_links() {
        let dir = crate::scratch::Scratch::new("cpio");
        crate::cache::write(&dir.join("usr/b"), "b").expect("writable");
        crate::cache::write(&dir.join("usr/a"), "a").expect("writable");
        std::os::unix::fs::symlink("usr", dir.join("lib")).expect("linkable");
        let mut archive = Archive::default();
        archive.tree(&dir).expect("readable");
        let text = String::from_utf8(archive.finish().expect("fits")).expect("ascii");
        let at = |name: &str| text.find(name).unwrap_or(usize::MAX);
        assert!(
            at("lib\0") < at("usr\0") && at("usr\0") < at("usr/a") && at("usr/a") < at("usr/b")
        );
        assert!(at("usr/b") < at("TRAILER"));
    }
}
