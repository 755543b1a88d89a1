//! What /proc says about processes: their tasks' context switches, their descriptors, their shared
//! memory.
//!
//! It knows nothing of what the processes are. Invariant: reading wakes nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// Context switches so far, of every task of every process asked about: by process and task.
pub(crate) type Switches = BTreeMap<(u32, u32), u64>;

/// Reads the switches of `pids` and of whatever they have started.
pub(crate) fn switches(pids: &[u32]) -> Switches {
    let mut all = Switches::new();
    for pid in with_descendants(pids) {
        for entry in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let entry = entry.unwrap();
            let tid = entry.file_name().to_str().unwrap().parse().unwrap();
            // A task that has just ended is not there any more, which is a difference too.
            if let Ok(status) = fs::read_to_string(entry.path().join("status")) {
                all.insert((pid, tid), counted(&status));
            }
        }
    }
    all
}

/// Both kinds of switches: of the task's own will, and not.
fn counted(status: &str) -> u64 {
    let counts: Vec<u64> = status
        .lines()
        .filter_map(|line| line.split_once("voluntary_ctxt_switches:"))
        .map(|(_, count)| count.trim().parse().unwrap())
        .collect();
    assert_eq!(counts.len(), 2, "{status}");
    counts.iter().sum()
}

fn with_descendants(pids: &[u32]) -> BTreeSet<u32> {
    let parents = parents();
    let mut all: BTreeSet<u32> = pids.iter().copied().collect();
    loop {
        let born = parents.iter().filter(|(_, parent)| all.contains(parent));
        let more: BTreeSet<u32> = born.map(|(pid, _)| *pid).chain(pids.to_vec()).collect();
        if more.is_subset(&all) {
            return all;
        }
        all.extend(more);
    }
}

/// Every process there is, and its parent. Processes that end meanwhile are not ours.
fn parents() -> Vec<(u32, u32)> {
    let entries = fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let parent = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may contain anything; what follows its closing parenthesis is state and parent.
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
        Some((pid, parent.parse().ok()?))
    };
    pids.filter_map(parent).collect()
}

/// What a process has open, sorted; descriptor numbers left out.
pub(crate) fn files(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    // A file that is closed meanwhile is not open.
    let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let mut all: Vec<String> = links
        .map(|link| link.to_str().unwrap().to_owned())
        .collect();
    all.sort();
    all
}

/// The inodes of the memory files that a process has open.
pub(crate) fn memory_files(pid: u32) -> BTreeSet<u64> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_memory = |path: &PathBuf| {
        fs::read_link(path).is_ok_and(|link| link.to_str().unwrap().starts_with("/memfd:"))
    };
    let memory = paths.filter(is_memory);
    memory
        .map(|path| fs::metadata(path).unwrap().ino())
        .collect()
}

/// The inodes of the memory files that a process has mapped.
pub(crate) fn mapped_memory_files(pid: u32) -> BTreeSet<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    // address, permissions, offset, device, inode, name
    let lines = maps.lines().filter(|line| line.contains("/memfd:"));
    let inodes = lines.map(|line| line.split_whitespace().nth(4).unwrap());
    inodes.map(|inode| inode.parse().unwrap()).collect()
}

/// The way to an open file of a process by its inode.
pub(crate) fn open_file(pid: u32, inode: u64) -> PathBuf {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| fs::metadata(path).is_ok_and(|meta| meta.ino() == inode);
    let found = paths.into_iter().find(is_it);
    found.unwrap_or_else(|| panic!("process {pid} has no file with inode {inode}"))
}
