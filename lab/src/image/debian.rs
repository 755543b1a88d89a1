//! A Debian system as a guest's disk: the packages of a small installation with systemd, unpacked
//! into a file system, and the few files that their installation would have written.
//!
//! It knows nothing of the guest. Invariant: no program of any package has run; what the system
//! finds out on its first boot is left to that.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::cache::{self, Cache};
use crate::error::{Doing as _, Failure};
use crate::packages::{self, Fetched};
use crate::stack::Stack;
use crate::tools;

/// What debootstrap calls minbase, by name, for apt counts nothing as there; and what a server has
/// beside: everything with a timer or a daemon that may write while nobody does anything.
const PACKAGES: &[&str] = &[
    "base-files",
    "base-passwd",
    "bash",
    "coreutils",
    "dash",
    "debianutils",
    "diffutils",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "libc-bin",
    "login",
    "mawk",
    "mount",
    "ncurses-base",
    "ncurses-bin",
    "passwd",
    "perl-base",
    "sed",
    "sysvinit-utils",
    "tar",
    "util-linux",
    "apt",
    "cron",
    "dbus",
    "dpkg",
    "e2fsprogs",
    "init-system-helpers",
    "iproute2",
    "kmod",
    "logrotate",
    "procps",
    "systemd-sysv",
    "systemd-timesyncd",
    "udev",
];
/// Dependencies of installation scripts alone.
const LEFT_OUT: &[&str] = &["perl", "perl-modules*", "libperl*", "usrmerge"];
/// Twice what it holds.
const SIZE_BYTES: u64 = 384 << 20;
/// Where the system is, in the directory of its release.
const IMAGE: &str = "system/root.img";

/// The disk of a stack's release.
pub(super) fn path(cache: &Path, stack: &Stack) -> PathBuf {
    cache.join(name(stack)).join(IMAGE)
}

fn name(stack: &Stack) -> String {
    format!("debian-{}", stack.suite)
}

/// Fetches and unpacks it where that has not been done from the same packages.
pub fn ready(cache: &Cache, stack: &Stack, refresh: bool) -> Result<(), Failure> {
    let (name, wanted) = (name(stack), PACKAGES.iter().map(ToString::to_string));
    let wanted: Vec<String> = wanted.collect();
    let fetched = packages::fetch(cache, &name, stack.suite, &wanted, LEFT_OUT, refresh)?;
    let inputs = [fetched.inputs(), include_bytes!("debian.rs").to_vec()];
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let image = path(&cache.dir, stack);
    let dir = image.parent().unwrap_or(&image);
    cache::make(dir, &cache::stamp(&inputs), |into| {
        make(&name, &fetched, into)
    })
    .map(drop)
}

fn make(name: &str, fetched: &Fetched, into: &Path) -> Result<(), Failure> {
    println!("{name}: unpacking {} packages", fetched.debs.len());
    let root = into.join("root");
    fetched.unpack(&root)?;
    configure(&root)?;
    let image = into.join("root.img");
    let what = || format!("making {}", image.display());
    let file = File::create(&image).doing(what)?;
    file.set_len(SIZE_BYTES).doing(what)?;
    tools::run(
        mkfs()?.args(["-q", "-F", "-d"]).arg(&root).arg(&image),
        &what(),
    )?;
    cache::remove(&root)
}

/// Files belong to root in the file system whoever makes it.
fn mkfs() -> Result<std::process::Command, Failure> {
    let user = fs::metadata("/proc/self")
        .doing(|| "asking who this is".to_owned())?
        .uid();
    if user == 0 {
        return Ok(tools::command("mkfs.ext4"));
    }
    let mut command = tools::command("unshare");
    command.args(["--map-root-user", "mkfs.ext4"]);
    Ok(command)
}

/// What the installation scripts of base-passwd, libpam-runtime and an installer write.
fn configure(root: &Path) -> Result<(), Failure> {
    for name in ["passwd", "group"] {
        let master = root.join(format!("usr/share/base-passwd/{name}.master"));
        let content = fs::read(&master).doing(|| format!("reading {}", master.display()))?;
        cache::write(&root.join("etc").join(name), content)?;
    }
    let pam = root.join("usr/share/pam");
    let what = || format!("reading {}", pam.display());
    for entry in fs::read_dir(&pam).doing(what)? {
        let entry = entry.doing(what)?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("common-") {
            let content = fs::read(entry.path()).doing(what)?;
            cache::write(&root.join("etc/pam.d").join(name), content)?;
        }
    }
    cache::write(&root.join("etc/hostname"), "debian\n")?;
    cache::write(
        &root.join("etc/fstab"),
        "/dev/xvda / ext4 errors=remount-ro 0 1\n",
    )?;
    // With this systemd takes its start for the first boot and enables what Debian enables.
    cache::write(&root.join("etc/machine-id"), "uninitialized\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unpacked_system_gets_its_users_and_its_root_file_system() {
        let root = crate::scratch::Scratch::new("debian");
        for name in [
            "base-passwd/passwd.master",
            "base-passwd/group.master",
            "pam/common-auth",
        ] {
            cache::write(&root.join("usr/share").join(name), name).expect("writable");
        }
        configure(&root).expect("configured");
        let read = |name: &str| fs::read_to_string(root.join("etc").join(name)).expect("there");
        assert_eq!(read("passwd"), "base-passwd/passwd.master");
        assert_eq!(read("pam.d/common-auth"), "pam/common-auth");
        assert!(read("fstab").starts_with("/dev/xvda / ext4 "));
    }
}
