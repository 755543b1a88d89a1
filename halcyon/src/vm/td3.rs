//! A disk's counters where tapdisk has them: `/dev/shm/td3-<pid>/vbd-<domid>-<devid>`. Xen's
//! libxenstat (xentop, from 4.19) and XAPI's rrdd look there for disks of kind `vbd3`; the pid is
//! what the backend's `kthread-pid` node says.
//!
//! The layout is `struct stats` of blktap's `tapdisk-metrics-stats.h`, version 1. Reads and writes
//! appear in it when they have ended, well or badly. Nothing here runs by itself: whoever gives a
//! device its turn brings its file up to date, with a few stores into one shared page.
//!
//! A process that is killed leaves its directory behind. A mark in the VM's state directory leads
//! there, so that the VM's next process can [`sweep`] it without a look at what belongs to others.
//!
//! Invariant: a mark stands in the state directory before there is anything that it leads to.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use abi::{DomId, SECTOR_SIZE};
use blkback::Counts;
use telemetry::Record;

/// What names the directory of a process, before its pid.
const PREFIX: &str = "td3-";

/// 64-bit words of the struct: a 32-bit version, padding, eleven counters.
const WORDS: usize = 12;
/// On a little-endian machine the version, with the padding that follows it.
const VERSION: u64 = 1;

/// The directory of this process. It is made with its first disk.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    mark: PathBuf,
}

/// One disk's file, removed when dropped.
#[derive(Debug)]
pub struct File {
    record: Record,
    path: PathBuf,
}

impl Directory {
    /// Below `shm`, `/dev/shm` as a rule, for the VM whose state directory is `state`.
    #[must_use]
    pub fn new(shm: &Path, state: &Path) -> Self {
        let name = format!("{PREFIX}{}", std::process::id());
        Self {
            path: shm.join(&name),
            mark: state.join(&name),
        }
    }

    /// The file of a disk, with nothing counted yet.
    pub fn disk(&self, domid: DomId, devid: u32) -> io::Result<File> {
        self.create()?;
        let path = self.path.join(format!("vbd-{domid}-{devid}"));
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true);
        let file = options.truncate(true).mode(0o644).open(&path)?;
        let record = Record::create(&file, WORDS)?;
        record.set(0, VERSION);
        Ok(File { record, path })
    }

    fn create(&self) -> io::Result<()> {
        existing(symlink(&self.path, &self.mark))?;
        existing(fs::DirBuilder::new().mode(0o755).create(&self.path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // With files in it, it stays, and so does the mark.
        drop(fs::remove_dir(&self.path));
        if !self.path.exists() {
            drop(fs::remove_file(&self.mark));
        }
    }
}

fn existing(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

impl File {
    /// Stores what was served so far.
    pub fn update(&self, counts: &Counts) {
        let sectors = |bytes| bytes / SECTOR_SIZE as u64;
        let micros = |ns| ns / 1_000;
        let words = [
            // Requests put off for want of memory: there is a lease for each.
            0,
            counts.reads,
            counts.reads,
            sectors(counts.read_bytes),
            micros(counts.read_ns),
            counts.writes,
            counts.writes,
            sectors(counts.write_bytes),
            micros(counts.write_ns),
            counts.disk_errors,
            // Flags: one, that memory is short.
            0,
        ];
        for (index, word) in (1..).zip(words) {
            self.record.set(index, word);
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!("remove {}: {error}", self.path.display());
        }
    }
}

/// Removes what killed processes of a VM have left behind, by the marks in its state directory.
pub fn sweep(state: &Path) {
    for entry in fs::read_dir(state).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let Some(pid) = pid.and_then(|pid| pid.parse::<u32>().ok()) else {
            continue;
        };
        // Its number may be another process's by now, one with such a directory of its own.
        if Path::new("/proc").join(pid.to_string()).exists() {
            continue;
        }
        if let Ok(left) = fs::read_link(entry.path()) {
            remove(&left);
        }
        drop(fs::remove_file(entry.path()));
    }
}

/// Removes a directory with the files of disks in it, and nothing else.
fn remove(left: &Path) {
    for entry in fs::read_dir(left).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(b"vbd-") {
            drop(fs::remove_file(entry.path()));
        }
    }
    drop(fs::remove_dir(left));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch::Scratch;

    /// A place for shared memory, and the state of a VM.
    struct Town {
        scratch: Scratch,
    }

    impl Town {
        fn new() -> Self {
            let scratch = Scratch::new().unwrap();
            fs::create_dir(scratch.path().join("shm")).unwrap();
            fs::create_dir(scratch.path().join("vm")).unwrap();
            Self { scratch }
        }

        fn shm(&self) -> PathBuf {
            self.scratch.path().join("shm")
        }

        fn state(&self) -> PathBuf {
            self.scratch.path().join("vm")
        }

        fn directory(&self) -> Directory {
            Directory::new(&self.shm(), &self.state())
        }

        /// What is there, apart from the two places themselves.
        fn left(&self) -> usize {
            let count = |dir| fs::read_dir(dir).unwrap().count();
            count(self.shm()) + count(self.state())
        }
    }

    /// No process has it: the largest there can be is 2^22.
    const DEAD: &str = "td3-4194305";

    #[test]
    fn the_layout_is_that_of_tapdisk() {
        let town = Town::new();
        let directory = town.directory();
        let file = directory.disk(DomId(7), 51712).unwrap();
        file.update(&Counts {
            reads: 3,
            writes: 5,
            flushes: 7,
            read_bytes: 4096,
            write_bytes: 8192,
            read_ns: 11_000,
            write_ns: 13_999,
            flush_ns: 17_000,
            disk_errors: 19,
        });
        let path = format!("td3-{}/vbd-7-51712", std::process::id());
        let bytes = fs::read(town.shm().join(path)).unwrap();
        assert_eq!(bytes.len(), 96);
        assert_eq!(bytes[0..4], 1_u32.to_le_bytes());
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!(word(8), 0, "oo_reqs");
        assert_eq!(word(16), 3, "read_reqs_submitted");
        assert_eq!(word(24), 3, "read_reqs_completed");
        assert_eq!(word(32), 8, "read_sectors");
        assert_eq!(word(40), 11, "read_total_ticks");
        assert_eq!(word(48), 5, "write_reqs_submitted");
        assert_eq!(word(56), 5, "write_reqs_completed");
        assert_eq!(word(64), 16, "write_sectors");
        assert_eq!(word(72), 13, "write_total_ticks");
        assert_eq!(word(80), 19, "io_errors");
        assert_eq!(word(88), 0, "flags");
    }

    #[test]
    fn nothing_is_made_without_a_disk_and_nothing_is_left_after_the_last() {
        let town = Town::new();
        let directory = town.directory();
        assert_eq!(town.left(), 0);
        let files = [51712, 51728].map(|devid| directory.disk(DomId(7), devid).unwrap());
        assert_eq!(town.left(), 2);
        drop(files);
        drop(directory);
        assert_eq!(town.left(), 0);
    }

    #[test]
    fn what_a_killed_process_left_is_swept() {
        let town = Town::new();
        let left = town.shm().join(DEAD);
        fs::create_dir(&left).unwrap();
        fs::write(left.join("vbd-7-51712"), [0; 96]).unwrap();
        symlink(&left, town.state().join(DEAD)).unwrap();
        sweep(&town.state());
        assert_eq!(town.left(), 0);
    }

    #[test]
    fn a_living_process_and_the_files_of_others_are_left_alone() {
        let town = Town::new();
        let directory = town.directory();
        let _file = directory.disk(DomId(7), 51712).unwrap();
        let left = town.shm().join(DEAD);
        fs::create_dir(&left).unwrap();
        fs::write(left.join("vdi-0"), "").unwrap();
        symlink(&left, town.state().join(DEAD)).unwrap();
        sweep(&town.state());
        assert_eq!(town.left(), 3);
        assert!(left.join("vdi-0").exists());
    }
}
