//! The grant table of a guest, read from the memory that it shares with its host.
//!
//! Version 1 entries of `grant_table.h`, from the start of the file: flags, domain and frame. Of the
//! two memory files that come into being with a domain, the other one is its memory. Guests have
//! both mapped and keep no descriptor, so the file is opened through the host's.
//!
//! Invariant: the reader sees an entry while one is known to be in use, or it would prove nothing
//! by seeing none; its callers look twice.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt as _;

use crate::proc;

/// Bytes of a table of the default size: 64 pages.
const TABLE_BYTES: usize = 64 * 4096;
const ENTRY_BYTES: usize = 8;

/// An entry that is not free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    gref: usize,
    flags: u16,
    domid: u16,
}

/// A guest's table.
#[derive(Debug)]
pub(crate) struct Table {
    host_pid: u32,
    inode: u64,
}

impl Table {
    /// The table of the domain that was created since the host had the memory files `before`.
    pub(crate) fn find(host_pid: u32, before: &BTreeSet<u64>, memory_bytes: u64) -> Self {
        let new = &proc::memory_files(host_pid) - before;
        let is_memory = |inode: &u64| {
            let path = proc::open_file(host_pid, *inode);
            fs::metadata(path).unwrap().len() == memory_bytes
        };
        let (memory, tables): (Vec<u64>, Vec<u64>) = new.into_iter().partition(is_memory);
        assert_eq!((memory.len(), tables.len()), (1, 1), "files of a domain");
        Self {
            host_pid,
            inode: tables[0],
        }
    }

    /// Whether a process has it mapped.
    pub(crate) fn is_mapped_by(&self, pid: u32) -> bool {
        proc::mapped_memory_files(pid).contains(&self.inode)
    }

    /// The entries that are not free.
    pub(crate) fn in_use(&self) -> Vec<Entry> {
        let mut bytes = vec![0; TABLE_BYTES];
        let file = fs::File::open(proc::open_file(self.host_pid, self.inode)).unwrap();
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
            .chunks_exact(ENTRY_BYTES)
            .enumerate()
            .map(|(gref, entry)| Entry {
                gref,
                flags: u16::from_le_bytes([entry[0], entry[1]]),
                domid: u16::from_le_bytes([entry[2], entry[3]]),
            })
            .filter(|entry| entry.flags != 0)
            .collect()
    }
}
