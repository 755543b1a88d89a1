//! `halcyon check`: is this machine fit to serve guests? One line for each thing, with the remedy.
//!
//! It changes nothing. Invariant: each verdict is a pure function of what was read.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::error::{Exit, Failure, chain};

/// Oldest kernel with deferred task work on a single-issuer ring.
const KERNEL_MIN: (u32, u32) = (6, 1);
/// Rings of an ordinary user are charged to this; one VM process needs a fraction of it.
const MEMLOCK_MIN_BYTES: u64 = 1 << 20;
/// A VM process has about ten descriptors and one for each disk.
const OPEN_FILES_MIN: u64 = 1024;
/// Map handles of a maptrack frame: 4096 bytes of 16-byte entries.
const MAPS_PER_FRAME: u64 = 256;

/// Bit of a capability set (`linux/capability.h`).
const CAP_SYS_ADMIN: u32 = 21;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Fit.
    Ok,
    /// Works, with a limit.
    Warn,
    /// Cannot work.
    Fail,
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// How bad it is.
    pub verdict: Verdict,
    /// What was looked at.
    pub what: &'static str,
    /// What was found and, unless it is fine, the remedy.
    pub text: String,
}

fn line(verdict: Verdict, what: &'static str, text: impl Into<String>) -> Line {
    Line {
        verdict,
        what,
        text: text.into(),
    }
}

/// Prints every line; fails if one of them does.
pub fn run() -> Result<(), Failure> {
    let lines = all();
    for line in &lines {
        let word = match line.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        };
        println!("{word:<5} {:<14} {}", line.what, line.text);
    }
    match lines
        .iter()
        .filter(|line| line.verdict == Verdict::Fail)
        .count()
    {
        0 => Ok(()),
        count => Err(Failure::new(
            Exit::Failed,
            format!("{count} of these must be mended first"),
        )),
    }
}

fn all() -> Vec<Line> {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let limits = text("/proc/self/limits");
    let on_xen = Path::new("/dev/xen").exists();
    vec![
        kernel(text("/proc/sys/kernel/osrelease").trim()),
        io_uring(
            text("/proc/sys/kernel/io_uring_disabled").trim(),
            text("/proc/sys/kernel/io_uring_group").trim(),
            &text("/proc/self/status"),
        ),
        memlock(soft_limit(&limits, "Max locked memory")),
        open_files(soft_limit(&limits, "Max open files")),
        xen_devices(on_xen, &|path| xen::linux::probe(path).err()),
        kernel_backend(Path::new("/sys/module/xen_blkback").exists()),
        maptrack(on_xen, on_xen.then(maptrack_frames).flatten()),
    ]
}

fn kernel(release: &str) -> Line {
    let mut numbers = release
        .split(['.', '-'])
        .map(|word| word.parse::<u32>().ok());
    let found = numbers.next().flatten().zip(numbers.next().flatten());
    match found {
        Some(version) if version >= KERNEL_MIN => line(Verdict::Ok, "kernel", release),
        Some(_) => line(
            Verdict::Fail,
            "kernel",
            format!(
                "{release} is too old: boot Linux {}.{} or later",
                KERNEL_MIN.0, KERNEL_MIN.1
            ),
        ),
        None => line(
            Verdict::Warn,
            "kernel",
            format!("release {release:?} is not understood"),
        ),
    }
}

/// `group` is kernel.io_uring_group, -1 for none; `status` is /proc/self/status.
fn io_uring(disabled: &str, group: &str, status: &str) -> Line {
    match disabled {
        // The file came with Linux 6.6; before it nothing could be forbidden.
        "0" | "" => line(Verdict::Ok, "io_uring", "allowed"),
        "1" if is_admin(status) => line(Verdict::Ok, "io_uring", "allowed to CAP_SYS_ADMIN"),
        "1" if groups(status).any(|gid| gid == group) => {
            let text = format!("allowed to group {group} (kernel.io_uring_group)");
            line(Verdict::Ok, "io_uring", text)
        }
        "1" => {
            let text = match group {
                "" | "-1" => "for CAP_SYS_ADMIN alone: sysctl kernel.io_uring_group=GID with a \
                              group of yours"
                    .to_owned(),
                gid => format!("for group {gid} alone (kernel.io_uring_group): join it"),
            };
            let text = format!("{text}, or sysctl kernel.io_uring_disabled=0");
            line(Verdict::Fail, "io_uring", text)
        }
        _ => line(
            Verdict::Fail,
            "io_uring",
            "forbidden: sysctl kernel.io_uring_disabled=0",
        ),
    }
}

/// The words of a row of /proc/self/status.
fn words<'a>(status: &'a str, row: &str) -> impl Iterator<Item = &'a str> {
    let rest = status.lines().find_map(|line| line.strip_prefix(row));
    rest.unwrap_or_default().split_whitespace()
}

/// Whether the effective capabilities hold `CAP_SYS_ADMIN`.
fn is_admin(status: &str) -> bool {
    let set = words(status, "CapEff:").next();
    let set = set.and_then(|hex| u64::from_str_radix(hex, 16).ok());
    set.is_some_and(|set| set >> CAP_SYS_ADMIN & 1 == 1)
}

/// The groups that the kernel asks: that of the file system, the last of `Gid:`, and all others.
fn groups(status: &str) -> impl Iterator<Item = &str> {
    words(status, "Gid:")
        .last()
        .into_iter()
        .chain(words(status, "Groups:"))
}

fn memlock(limit: Option<u64>) -> Line {
    match limit {
        None => line(Verdict::Ok, "locked memory", "unlimited"),
        Some(bytes) if bytes >= MEMLOCK_MIN_BYTES => {
            line(Verdict::Ok, "locked memory", format!("{} KiB", bytes >> 10))
        }
        Some(bytes) => line(
            Verdict::Warn,
            "locked memory",
            format!(
                "{} KiB: raise it to 1024 or more (ulimit -l, LimitMEMLOCK=)",
                bytes >> 10
            ),
        ),
    }
}

fn open_files(limit: Option<u64>) -> Line {
    match limit {
        None => line(Verdict::Ok, "open files", "unlimited"),
        Some(count) if count >= OPEN_FILES_MIN => {
            line(Verdict::Ok, "open files", count.to_string())
        }
        Some(count) => line(
            Verdict::Warn,
            "open files",
            format!("{count}: raise it to {OPEN_FILES_MIN} or more (ulimit -n, LimitNOFILE=)"),
        ),
    }
}

/// `trouble` is what stands against using a device.
fn xen_devices(on_xen: bool, trouble: &dyn Fn(&'static str) -> Option<xen::linux::Error>) -> Line {
    if !on_xen {
        let text = "absent: this is no Xen control domain; simulated hosts only (halcyon demo)";
        return line(Verdict::Warn, "/dev/xen", text);
    }
    let found = xen::linux::NEEDED.into_iter().filter_map(trouble);
    let found: Vec<String> = found.map(|error| chain(&error)).collect();
    if found.is_empty() {
        return line(Verdict::Ok, "/dev/xen", "evtchn, gntdev, xenbus");
    }
    line(Verdict::Fail, "/dev/xen", found.join("; "))
}

fn kernel_backend(loaded: bool) -> Line {
    if loaded {
        let text = "loaded: it serves kind vbd; use backendtype=tap (kind vbd3), or blacklist it";
        return line(Verdict::Warn, "xen-blkback", text);
    }
    line(Verdict::Ok, "xen-blkback", "not loaded: kind vbd is free")
}

/// Asks the hypervisor file system, which needs a tool: there is no file of Linux that says it.
fn maptrack_frames() -> Option<u64> {
    let output = Command::new("xenhypfs")
        .args(["cat", "/params/gnttab_max_maptrack_frames"])
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

fn maptrack(on_xen: bool, frames: Option<u64>) -> Line {
    match (on_xen, frames) {
        (false, _) => line(Verdict::Ok, "maptrack", "no hypervisor, no limit"),
        (true, Some(frames)) => line(
            Verdict::Ok,
            "maptrack",
            format!(
                "{frames} frames: {} mapped grants for this domain",
                frames * MAPS_PER_FRAME
            ),
        ),
        (true, None) => line(
            Verdict::Warn,
            "maptrack",
            "unknown; Xen's default is 1024 frames, 262144 mapped grants: install xenhypfs to see \
             it, gnttab_max_maptrack_frames= on Xen's command line raises it",
        ),
    }
}

/// The soft limit of a row of /proc/self/limits; `None` is unlimited or not told.
fn soft_limit(limits: &str, row: &str) -> Option<u64> {
    let rest = limits.lines().find_map(|line| line.strip_prefix(row))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use xen::linux::Error;

    #[test]
    fn an_old_kernel_fails_and_says_which_one_to_boot() {
        let line = kernel("5.15.0-91-generic");
        assert_eq!(line.verdict, Verdict::Fail);
        assert!(line.text.contains("6.1"));
        assert_eq!(kernel("6.1.0-18-amd64").verdict, Verdict::Ok);
        assert_eq!(kernel("10.0").verdict, Verdict::Ok);
    }

    const USER: &str = "Gid:\t1000\t1000\t1000\t1000\nGroups:\t27 100\nCapEff:\t0000000000000000\n";
    const ROOT: &str = "Gid:\t0\t0\t0\t0\nGroups:\t0\nCapEff:\t000001ffffffffff\n";

    #[test]
    fn io_uring_reserved_for_a_group_is_a_failure_for_those_outside_alone() {
        assert_eq!(io_uring("1", "27", USER).verdict, Verdict::Ok);
        assert_eq!(io_uring("1", "1000", USER).verdict, Verdict::Ok);
        assert_eq!(io_uring("1", "28", USER).verdict, Verdict::Fail);
        assert_eq!(io_uring("1", "-1", USER).verdict, Verdict::Fail);
        assert_eq!(io_uring("1", "-1", ROOT).verdict, Verdict::Ok);
    }

    #[test]
    fn io_uring_forbidden_or_allowed_is_so_for_everybody() {
        assert_eq!(io_uring("2", "27", USER).verdict, Verdict::Fail);
        assert_eq!(io_uring("2", "-1", ROOT).verdict, Verdict::Fail);
        assert_eq!(io_uring("0", "-1", USER).verdict, Verdict::Ok);
        assert_eq!(io_uring("", "", USER).verdict, Verdict::Ok);
    }

    #[test]
    fn limits_are_read_from_the_soft_column() {
        let text = "Max open files            256                  4096                 files\n\
                    Max locked memory         unlimited            unlimited            bytes\n";
        assert_eq!(
            open_files(soft_limit(text, "Max open files")).verdict,
            Verdict::Warn
        );
        assert_eq!(
            memlock(soft_limit(text, "Max locked memory")).verdict,
            Verdict::Ok
        );
    }

    #[test]
    fn a_half_equipped_control_domain_names_what_is_missing() {
        let missing = |path| Error::Missing {
            path,
            remedy: "modprobe xen-gntdev",
        };
        let trouble = |path| (path == "/dev/xen/gntdev").then(|| missing(path));
        let line = xen_devices(true, &trouble);
        assert_eq!(line.verdict, Verdict::Fail);
        assert_eq!(line.text, "/dev/xen/gntdev is missing: modprobe xen-gntdev");
    }

    #[test]
    fn the_maptrack_limit_is_told_in_mapped_grants() {
        assert!(maptrack(true, Some(1024)).text.contains("262144"));
    }
}
