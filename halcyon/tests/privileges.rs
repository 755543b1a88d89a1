//! Claims that need an ordinary user, or root: ignored, with the reason, where they cannot be
//! checked, and never passed in silence.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt};
use std::process::{Command, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};

#[expect(dead_code, reason = "the other test binary uses the rest")]
#[path = "cli/support.rs"]
mod support;

use support::{Dir, Host, halcyon, refused, said};

fn main() {
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let xen = std::path::Path::new("/dev/xen").exists();
    let trials = vec![
        Trial::test("an_image_that_may_not_be_read_is_refused", unreadable)
            .with_kind("needs an ordinary user: root may read everything")
            .with_ignored_flag(root),
        Trial::test("an_image_that_may_not_be_written_is_refused", unwritable)
            .with_kind("needs an ordinary user: root may write everything")
            .with_ignored_flag(root),
        Trial::test(
            "commands_that_name_no_place_mean_the_default_one",
            default_place,
        )
        .with_kind("needs an ordinary user: the default place of root is the machine's own")
        .with_ignored_flag(root || xen),
        Trial::test("a_device_that_this_domain_has_claimed_is_refused", claimed)
            .with_kind("needs root, to make a loop device")
            .with_ignored_flag(!root),
        Trial::test("a_file_behind_a_loop_device_is_refused", looped)
            .with_kind("needs root, to make a loop device")
            .with_ignored_flag(!root),
        Trial::test("a_full_scratch_file_system_is_named", no_space)
            .with_kind("needs root, to mount a small file system")
            .with_ignored_flag(!root),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn image_of_mode(host: &Host, mode: u32) -> String {
    let path = host.dir.file("a", 1 << 16);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    path
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a trial")]
fn unreadable() -> Result<(), Failed> {
    let host = Host::start();
    let path = image_of_mode(&host, 0o000);
    let why = format!("{path}: no permission to read it");
    let line = format!("guest g, disk xvda: backend refused the device: {why}");
    assert_eq!(host.create(&format!("{path},r")), refused(1, &line));
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a trial")]
fn unwritable() -> Result<(), Failed> {
    let host = Host::start();
    let path = image_of_mode(&host, 0o400);
    let why = format!("{path}: no permission to read and write it");
    let line = format!("guest g, disk xvda: backend refused the device: {why}");
    assert_eq!(host.create(&path), refused(1, &line));
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a trial")]
fn default_place() -> Result<(), Failed> {
    let dir = Dir::new();
    let at_home = |args: &[&str]| said(halcyon(args).env("XDG_RUNTIME_DIR", dir.path()));
    assert_eq!(at_home(&["stats"]).code, 5);
    assert_eq!(at_home(&["sim", "list"]).code, 5);
    assert_eq!(at_home(&["sim", "stop"]).code, 5);
    assert_eq!(at_home(&["sim", "start"]).code, 0);
    let made = at_home(&["sim", "create", "--no-guest"]);
    let uuid = made.out.split_whitespace().nth(2).unwrap();
    assert_eq!(at_home(&["vm", "--domid", "1"]).code, 4);
    let stats = at_home(&["stats", "--json"]).out;
    assert_eq!(at_home(&["sim", "stop"]).code, 0);
    assert!(stats.contains(uuid), "{stats}");
    Ok(())
}

/// A loop device that shows a file; it goes with the last that has it open.
fn loop_device(file: &str) -> Result<(String, File), Failed> {
    let made = Command::new("losetup")
        .args(["--find", "--show", file])
        .output()?;
    if !made.status.success() {
        return Err("losetup failed: run this test where root may make loop devices".into());
    }
    let path = String::from_utf8(made.stdout)?.trim_end().to_owned();
    let held = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_EXCL)
        .open(&path)?;
    Command::new("losetup").args(["--detach", &path]).status()?;
    Ok((path, held))
}

fn claimed() -> Result<(), Failed> {
    let host = Host::start();
    let (path, claim) = loop_device(&host.dir.file("a", 1 << 20))?;
    let why = format!("{path}: is in use in this very domain (mounted, or part of a volume)");
    let said = host.create(&path);
    assert!(said.err.contains(&why), "{}", said.err);
    // For reading it is the guest's business.
    assert_eq!(host.create(&format!("{path},r")).code, 0);
    assert_eq!(host.said(&["sim", "destroy", "g"]).code, 0);
    drop(claim);
    Ok(())
}

fn looped() -> Result<(), Failed> {
    let host = Host::start();
    let file = host.dir.file("a", 1 << 20);
    let (path, shown) = loop_device(&file)?;
    let why = format!("{file}: is {path} of this very domain, too");
    let said = host.create(&file);
    assert!(said.err.contains(&why), "{}", said.err);
    assert_eq!(host.create(&format!("{file},r")).code, 0);
    assert_eq!(host.said(&["sim", "destroy", "g"]).code, 0);
    drop(shown);
    Ok(())
}

fn no_space() -> Result<(), Failed> {
    let dir = Dir::new();
    let small = dir.path().join("small");
    std::fs::create_dir(&small)?;
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "none"])
        .arg(&small)
        .stderr(Stdio::null())
        .status()?;
    if !mounted.success() {
        return Err("mount is not permitted here: run this test where root may mount".into());
    }
    let said = said(halcyon(&["demo", "--json"]).env("TMPDIR", &small));
    let left = std::fs::read_dir(&small)?.count();
    Command::new("umount").arg(&small).status()?;
    assert_eq!((said.code, left), (1, 0), "{}", said.err);
    assert!(
        said.err
            .ends_with("No space left on device (os error 28)\n"),
        "{}",
        said.err
    );
    Ok(())
}
