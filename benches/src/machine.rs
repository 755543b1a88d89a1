//! On what a benchmark ran: the facts that a record is worthless without.
//!
//! Invariant: what cannot be found out is said to be unknown, never guessed.

use std::fs;
use std::io::{Seek as _, SeekFrom};
use std::path::Path;
use std::process::Command;

use serde::Serialize;

/// See the head of this file.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// How many processors of which kind, and whether they are virtual.
    pub processors: String,
    /// Release of the running kernel.
    pub kernel: String,
    /// Which compiler built this program.
    pub rustc: String,
    /// Which commit of the source tree that it was built from is checked out now.
    pub commit: String,
    /// Load average over the last minute when the benchmark began; above the number of processors
    /// in use the numbers are those of a busy machine.
    pub load_average: String,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn here() -> Self {
        let load = read("/proc/loadavg");
        Self {
            processors: processors(&read("/proc/cpuinfo")),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            rustc: env!("HALCYON_RUSTC").to_owned(),
            commit: commit().unwrap_or_else(|| "unknown".to_owned()),
            load_average: load.split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|_| "unknown".to_owned())
}

/// What /proc/cpuinfo says, in one line.
fn processors(cpuinfo: &str) -> String {
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim())
    };
    let count = cpuinfo
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let model = field("model name").unwrap_or("unknown");
    let number = field("model\t").map_or(String::new(), |number| format!(" (model {number})"));
    let flags = field("flags").unwrap_or_default();
    let kind = if flags.split(' ').any(|flag| flag == "hypervisor") {
        ", virtual"
    } else {
        ""
    };
    format!("{count} x {model}{number}{kind}")
}

fn commit() -> Option<String> {
    let arguments = [
        "-C",
        env!("CARGO_MANIFEST_DIR"),
        "describe",
        "--always",
        "--dirty",
    ];
    let said = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(said.stdout).ok()?;
    said.status.success().then(|| text.trim().to_owned())
}

/// The file system that `path` is on and the device below it: `ext4 on vda (virtio_blk)`.
#[must_use]
pub fn storage(path: &Path) -> String {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if path.starts_with("/dev") {
        return device(&path);
    }
    mounted(&read("/proc/self/mountinfo"), &path).unwrap_or_else(|| "unknown".to_owned())
}

/// The size of a file or block device; 0 if it cannot be opened.
#[must_use]
pub fn size_bytes(path: &Path) -> u64 {
    let end = fs::File::open(path).and_then(|mut file| file.seek(SeekFrom::End(0)));
    end.unwrap_or_default()
}

/// The mount with the longest prefix of `path`; fields as in proc_pid_mountinfo(5).
fn mounted(mountinfo: &str, path: &Path) -> Option<String> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (place, source) = line.split_once(" - ")?;
        let point = Path::new(place.split(' ').nth(4)?);
        let mut source = source.split(' ');
        path.starts_with(point)
            .then_some((point.as_os_str().len(), source.next()?, source.next()?))
    });
    // Of several mounts on one point, the last is the one that is seen.
    let (_, system, source) = mounts.max_by_key(|(len, ..)| *len)?;
    Some(format!("{system} on {}", device(Path::new(source))))
}

/// A block device with its driver, where it has one.
fn device(path: &Path) -> String {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = path
        .file_name()
        .map_or(path.to_string_lossy(), |name| name.to_string_lossy());
    let link = format!("/sys/class/block/{name}/device/driver");
    let driver = fs::read_link(link).ok();
    match driver.as_deref().and_then(Path::file_name) {
        Some(driver) => format!("{name} ({})", driver.to_string_lossy()),
        None => name.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_and_a_virtual_machine_says_so() {
        let one = "processor\t: 0\nmodel\t\t: 207\nmodel name\t: Xeon\nflags\t\t: fpu hypervisor\n";
        assert_eq!(processors(&one.repeat(2)), "2 x Xeon (model 207), virtual");
        assert_eq!(processors("processor: 0\n"), "1 x unknown");
    }

    #[test]
    fn the_deepest_mount_is_the_one_a_file_is_on() {
        let mounts =
            "1 0 8:1 / / rw - ext4 /dev/none rw\n2 1 0:3 / /tmp rw shared:1 - tmpfs tmp rw\n";
        assert_eq!(
            mounted(mounts, Path::new("/tmp/a")).unwrap(),
            "tmpfs on tmp"
        );
        assert_eq!(
            mounted(mounts, Path::new("/tmpfile")).unwrap(),
            "ext4 on none"
        );
    }
}
