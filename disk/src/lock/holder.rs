//! Who holds a lock, for a message only.
//!
//! The kernel names no owner for a lock of an open file description, so /proc is searched: a
//! descriptor whose fdinfo has a `lock:` line and that leads to our file. That costs time in
//! proportion to all processes, and is paid only by an attach that has failed already.
//! Invariant: whatever it cannot read it skips; it never fails and never takes a lock.

use std::fmt;
use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Mode;

/// A process that holds the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its name, as /proc/PID/comm has it.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.name)
    }
}

/// Why an image cannot be had, in words: who holds it, as far as can be seen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("image is locked by {}", name(.0.as_ref()))]
pub struct HeldBy(pub Option<Holder>);

fn name(holder: Option<&Holder>) -> String {
    let unseen = || {
        String::from(
            "no process that can be seen here: \
             another user's, another host's, or a dead one's last request",
        )
    };
    holder.map_or_else(unseen, ToString::to_string)
}

/// A file, wherever it is opened from.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(fd: BorrowedFd<'_>) -> Option<Self> {
        let file = fs::File::from(fd.try_clone_to_owned().ok()?);
        let metadata = file.metadata().ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

/// Whether this process is one of those.
pub(super) fn is_held_by(pid: u32, fd: BorrowedFd<'_>, mode: Mode) -> bool {
    Identity::of(fd).is_some_and(|wanted| holds(pid, wanted, mode))
}

/// The first process found to hold a lock that stands in the way of `mode`.
pub(super) fn find(fd: BorrowedFd<'_>, mode: Mode) -> Option<Holder> {
    let wanted = Identity::of(fd)?;
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| holds(*pid, wanted, mode))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = name.trim_end().escape_debug().to_string();
    Some(Holder { pid, name })
}

fn holds(pid: u32, wanted: Identity, mode: Mode) -> bool {
    let process = Path::new("/proc").join(pid.to_string());
    let Ok(infos) = fs::read_dir(process.join("fdinfo")) else {
        return false;
    };
    infos.flatten().any(|info| {
        let text = fs::read_to_string(info.path()).unwrap_or_default();
        // The device in a lock line is the file system's, on btrfs not the one that stat tells:
        // the inode picks candidates, and the descriptor itself decides.
        is_locked(&text, wanted.inode, mode)
            && identity(&process.join("fd").join(info.file_name())) == Some(wanted)
    })
}

fn identity(path: &Path) -> Option<Identity> {
    let metadata = fs::metadata(path).ok()?;
    Some(Identity {
        device: metadata.dev(),
        inode: metadata.ino(),
    })
}

/// Whether an fdinfo has a lock on this inode that stands in the way, as in
/// `lock:  1: OFDLCK  ADVISORY  WRITE -1 fe:00:8197 0 EOF`.
fn is_locked(fdinfo: &str, inode: u64, mode: Mode) -> bool {
    fdinfo
        .lines()
        .filter_map(|line| line.strip_prefix("lock:"))
        .any(|line| {
            let mut words = line.split_ascii_whitespace().skip(3);
            let stands_in_the_way =
                mode == Mode::Exclusive || words.clone().next() == Some("WRITE");
            let place = words
                .nth(2)
                .and_then(|place| place.rsplit(':').next()?.parse().ok());
            stands_in_the_way && place == Some(inode)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITER: &str = "pos:\t0\nlock:\t1: OFDLCK  ADVISORY  WRITE -1 fe:00:8197 0 EOF\n";
    const READER: &str = "lock:\t1: POSIX  ADVISORY  READ 77 00:2f:8197 0 EOF\n";

    #[test]
    fn a_writer_stands_in_everybodys_way() {
        assert!(is_locked(WRITER, 8197, Mode::Shared));
        assert!(is_locked(WRITER, 8197, Mode::Exclusive));
    }

    #[test]
    fn a_reader_stands_in_a_writers_way_alone() {
        assert!(is_locked(READER, 8197, Mode::Exclusive));
        assert!(!is_locked(READER, 8197, Mode::Shared));
    }

    #[test]
    fn a_lock_on_another_inode_is_not_ours() {
        assert!(!is_locked(WRITER, 197, Mode::Exclusive));
    }

    #[test]
    fn text_that_is_no_lock_line_is_skipped() {
        assert!(!is_locked(
            "lock:\nlock: 1 2 3\nlock:\t\u{7f} : : : WRITE :",
            0,
            Mode::Exclusive
        ));
    }
}
