//! What /proc says about processes: the measurements that do not come from the code measured.
//!
//! It knows nothing of what the processes do. Invariant: every task of a process is counted, not
//! its first alone; a process that ended meanwhile is an error, never a zero.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

pub mod memory;

/// The user that this process runs as; 0 where /proc is not mounted would be a lie, so nobody.
#[must_use]
pub fn user_id() -> u32 {
    fs::metadata("/proc/self").map_or(u32::MAX, |meta| meta.uid())
}

/// Context switches per task, of one process or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Switches(BTreeMap<u32, u64>);

impl Switches {
    /// Tasks seen.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.0.len()
    }

    /// Adds the tasks of other processes.
    pub fn add(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Switches since `earlier`, of every task; a task that is new counts all of its own, and one
    /// that is gone counts one: it had to run to end.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> u64 {
        let gone = earlier
            .0
            .keys()
            .filter(|tid| !self.0.contains_key(tid))
            .count();
        let moved = self
            .0
            .iter()
            .map(|(tid, now)| now - earlier.0.get(tid).unwrap_or(&0));
        moved.sum::<u64>() + gone as u64
    }
}

/// Voluntary and involuntary context switches of every task of `pid`.
pub fn switches(pid: u32) -> io::Result<Switches> {
    let mut all = BTreeMap::new();
    for (tid, dir) in tasks(pid)? {
        // A task may end between the listing and the reading; then it is not a task any more.
        if let Some(status) = unless_gone(fs::read_to_string(dir.join("status")))? {
            let count = field(&status, "voluntary_ctxt_switches:")
                .zip(field(&status, "nonvoluntary_ctxt_switches:"))
                .map(|(own, forced)| own + forced);
            all.insert(tid, count.ok_or(ErrorKind::InvalidData)?);
        }
    }
    Ok(Switches(all))
}

/// Nanoseconds on a processor of every task of `pid` that still lives.
pub fn cpu_ns(pid: u32) -> io::Result<u64> {
    let mut sum = 0;
    for (_, dir) in tasks(pid)? {
        if let Some(text) = unless_gone(fs::read_to_string(dir.join("schedstat")))? {
            let first = text
                .split_whitespace()
                .next()
                .and_then(|word| word.parse::<u64>().ok());
            sum += first.ok_or(ErrorKind::InvalidData)?;
        }
    }
    Ok(sum)
}

/// What the descriptors of `pid` point at.
pub fn open_files(pid: u32) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        if let Some(target) = unless_gone(fs::read_link(entry?.path()))? {
            files.push(target);
        }
    }
    Ok(files)
}

/// The children of `pid`, from every task of it.
pub fn children(pid: u32) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for (_, dir) in tasks(pid)? {
        let text = unless_gone(fs::read_to_string(dir.join("children")))?.unwrap_or_default();
        found.extend(
            text.split_whitespace()
                .filter_map(|word| word.parse::<u32>().ok()),
        );
    }
    Ok(found)
}

/// `pid`, its children, theirs, and so on.
pub fn family(pid: u32) -> io::Result<Vec<u32>> {
    let mut all = vec![pid];
    let mut asked = 0;
    while let Some(member) = all.get(asked).copied() {
        all.extend(children(member)?);
        asked += 1;
    }
    Ok(all)
}

fn tasks(pid: u32) -> io::Result<Vec<(u32, PathBuf)>> {
    let mut tasks = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let entry = entry?;
        if let Some(tid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        {
            tasks.push((tid, entry.path()));
        }
    }
    Ok(tasks)
}

/// ESRCH is what /proc says of a task that ended after its directory was opened.
fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The number after `name` at the start of a line.
#[must_use]
pub fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_at_the_start_of_its_line_only() {
        let text = "nonvoluntary_ctxt_switches:\t9\nvoluntary_ctxt_switches:\t7\n";
        assert_eq!(field(text, "voluntary_ctxt_switches:"), Some(7));
        assert_eq!(field(text, "ctxt_switches:"), None);
    }

    #[test]
    fn a_task_that_came_or_went_counts_as_not_idle() {
        let before = Switches(BTreeMap::from([(1, 5), (2, 3)]));
        let after = Switches(BTreeMap::from([(1, 5), (4, 2)]));
        assert_eq!(after.since(&before), 3);
        assert_eq!(before.since(&before), 0);
    }

    #[test]
    fn a_grandchild_belongs_to_the_family() {
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "sh -c \"sh -c 'echo; read line; :'; :\"; :"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut started = [0];
        io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut started).unwrap();
        assert_eq!(family(shell.id()).unwrap().len(), 3);
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }

    #[test]
    fn this_process_has_a_task_that_has_run() {
        let pid = std::process::id();
        assert!(switches(pid).unwrap().tasks() >= 1);
        assert!(cpu_ns(pid).unwrap() > 0);
        assert!(!open_files(pid).unwrap().is_empty());
    }
}
