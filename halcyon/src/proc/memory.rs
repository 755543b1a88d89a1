//! What one more process costs a host in memory, read from the kernel's own books.
//!
//! The sum is that of the acceptance: anonymous pages, shared mappings that no other process has
//! (guest memory excepted: it is the guest's), page tables, 16 KiB of kernel stack for each thread,
//! and the pages of its io_uring.

use std::fs;
use std::io;

use serde::Serialize;

use super::field;

/// Kernel stack of a thread on x86_64 and arm64: `THREAD_SIZE` of the kernel, 4 pages.
const STACK_KIB_PER_THREAD: u64 = 16;

/// The private memory of one process, in KiB, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Private {
    /// Heap, stack, and pages of files that were written to.
    pub anonymous_kib: u64,
    /// Shared mappings that only this process has.
    pub shared_alone_kib: u64,
    /// Page tables.
    pub page_tables_kib: u64,
    /// Kernel stacks.
    pub stacks_kib: u64,
    /// The rings shared with the kernel.
    pub rings_kib: u64,
}

impl Private {
    /// All of it.
    #[must_use]
    pub fn total_kib(&self) -> u64 {
        self.anonymous_kib
            + self.shared_alone_kib
            + self.page_tables_kib
            + self.stacks_kib
            + self.rings_kib
    }
}

/// Reads the private memory of `pid`.
///
/// Guest memory needs no exception by name: what a backend touches of it, its guest has mapped too,
/// so it is not alone.
pub fn private(pid: u32) -> io::Result<Private> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mut sum = from_smaps(&fs::read_to_string(format!("/proc/{pid}/smaps"))?);
    sum.page_tables_kib = field(&status, "VmPTE:").unwrap_or(0);
    sum.stacks_kib = STACK_KIB_PER_THREAD * field(&status, "Threads:").unwrap_or(1);
    Ok(sum)
}

/// KiB that the system could give out without swapping.
pub fn available_kib() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    field(&text, "MemAvailable:").ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn from_smaps(text: &str) -> Private {
    let mut sum = Private::default();
    let mut mapping = Mapping::Ordinary;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(first), Some(second)) = (words.next(), words.next()) else {
            continue;
        };
        match first.strip_suffix(':') {
            Some(name) => mapping.add(name, second.parse().unwrap_or(0), &mut sum),
            // A header: range, permissions, offset, device, inode, name.
            None => mapping = Mapping::of(second, words.nth(3).unwrap_or("")),
        }
    }
    sum
}

#[derive(Clone, Copy)]
enum Mapping {
    Ordinary,
    Shared,
    Ring,
}

impl Mapping {
    fn of(permissions: &str, name: &str) -> Self {
        match permissions.ends_with('s') {
            true if name.starts_with("anon_inode:[io_uring]") => Self::Ring,
            true => Self::Shared,
            false => Self::Ordinary,
        }
    }

    fn add(self, name: &str, kib: u64, sum: &mut Private) {
        match (self, name) {
            (Self::Ordinary, "Anonymous") => sum.anonymous_kib += kib,
            (Self::Shared, "Private_Clean" | "Private_Dirty") => sum.shared_alone_kib += kib,
            // The kernel allocated all of a ring, whatever of it was touched from here.
            (Self::Ring, "Size") => sum.rings_kib += kib,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
00400000-00500000 r-xp 00000000 fe:00 1 /usr/bin/halcyon
Size:               1024 kB
Private_Clean:       100 kB
Anonymous:             0 kB
00600000-00700000 rw-p 00000000 00:00 0 [heap]
Anonymous:            40 kB
00700000-00702000 rw-s 00000000 00:0f 7 anon_inode:[io_uring]
Size:                  8 kB
Private_Dirty:         4 kB
00800000-00900000 rw-s 00000000 00:01 8 /memfd:halcyon-sim (deleted)
Shared_Dirty:       1024 kB
00a00000-00a01000 rw-s 00000000 00:01 9 /run/stats
Private_Dirty:         4 kB
VmFlags: rd wr
";

    #[test]
    fn every_kind_of_page_is_counted_once_and_the_guests_not_at_all() {
        let sum = from_smaps(SMAPS);
        assert_eq!(sum.anonymous_kib, 40);
        assert_eq!(sum.rings_kib, 8);
        assert_eq!(sum.shared_alone_kib, 4);
        assert_eq!(sum.total_kib(), 52);
    }

    #[test]
    fn this_process_has_page_tables_and_a_stack() {
        let sum = private(std::process::id()).unwrap();
        assert!(sum.page_tables_kib > 0);
        assert!(sum.stacks_kib >= STACK_KIB_PER_THREAD);
    }
}
