//! Where this machine lets an image lie: its directory for temporary files, and, for root, file
//! systems made for the occasion in a mount namespace that goes with this process.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use disk::conformance::{Rig, SECTORS};
use disk::lock::{self, Mode};
use libtest_mimic::Trial;

use super::live;
use super::scratch::{Scratch, open};

const IMAGE_BYTES: u64 = SECTORS * 512;

/// Room for an empty file system; mkfs.xfs makes none below 300 MiB.
const FILE_SYSTEM_BYTES: u64 = 320 << 20;

/// Somewhere an image can lie.
#[derive(Debug)]
pub(crate) struct Place {
    /// Its name in the list of tests.
    pub(crate) name: &'static str,
    /// What this machine lacks for it, in few words.
    pub(crate) missing: Option<String>,
    storage: Storage,
    turn: Mutex<()>,
}

#[derive(Debug)]
enum Storage {
    None,
    /// A directory on a file system that can share blocks; each image is a copy of a first one.
    Shared(PathBuf, Mount),
    /// A directory for image files, and what keeps it there.
    Directory(PathBuf, Option<Mount>),
    /// A block device, held open: it goes with its last descriptor.
    Device(PathBuf, File),
}

/// A mounted file system, and the directory that has its image and its mount point.
#[derive(Debug)]
struct Mount {
    scratch: Scratch,
    /// The device it is on, where that was made by us and goes with its last descriptor.
    device: Option<File>,
}

impl Mount {
    fn point(&self) -> PathBuf {
        self.scratch.path("mounted")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // The mount goes with the process anyway; the directory under it can only go before.
        drop(run("umount", &[text(&self.point())]));
    }
}

impl Place {
    fn new(name: &'static str, storage: Result<Storage, String>) -> Self {
        let (missing, storage) = match storage {
            Ok(storage) => (None, storage),
            Err(missing) => (Some(missing), Storage::None),
        };
        Self {
            name,
            missing,
            storage,
            turn: Mutex::new(()),
        }
    }

    /// A disk full of zeroes there.
    pub(crate) fn rig(&self, read_only: bool) -> Rig {
        match &self.storage {
            Storage::None => panic!("{} is not here: {:?}", self.name, self.missing),
            Storage::Directory(path, _) => {
                let scratch = Scratch::under(path);
                // The open file outlives its name.
                live::rig(&scratch.image("image", IMAGE_BYTES, b"", 0), read_only)
            }
            Storage::Shared(path, _) => {
                let scratch = Scratch::under(path);
                let first = scratch.image("first", IMAGE_BYTES, &[0; 1 << 20], 0);
                let image = scratch.path("image");
                run("cp", &["--reflink=always", text(&first), text(&image)]).expect("it shares");
                live::rig(&image, read_only)
            }
            Storage::Device(path, _) => {
                let image = File::options()
                    .write(true)
                    .open(path)
                    .expect("the device opens");
                zero(&image);
                live::rig(path, read_only)
            }
        }
    }

    /// One test at a time where there is only one disk.
    pub(crate) fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        let single = matches!(self.storage, Storage::Device(..));
        single.then(|| self.turn.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn zero(device: &File) {
    use std::os::unix::fs::FileExt;
    let zeroes = vec![0; usize::try_from(IMAGE_BYTES).expect("small")];
    device
        .write_all_at(&zeroes, 0)
        .expect("the device takes zeroes");
    device.sync_all().expect("and keeps them");
}

/// All places; for a list of names, nothing is mounted.
pub(crate) fn places(names_only: bool) -> Vec<Place> {
    let ready = if names_only {
        Err("only listed".to_owned())
    } else {
        own_mounts()
    };
    let on = |name, storage: fn() -> Result<Storage, String>| {
        Place::new(name, ready.clone().and_then(|()| storage()))
    };
    vec![
        Place::new(
            "temporary_files",
            Ok(Storage::Directory(std::env::temp_dir(), None)),
        ),
        on("xfs", || file_system("xfs", &["-q"])),
        on("xfs_sharing_blocks", || {
            shared(file_system("xfs", &["-q", "-m", "reflink=1"])?)
        }),
        on("btrfs", || file_system("btrfs", &["-q"])),
        on("ext4", || file_system("ext4", &["-q", "-F"])),
        on("tmpfs", tmpfs),
        on("ext4_on_4096_byte_sectors", large_sectors),
        on("a_loop_device", || loop_device("512")),
        on("a_loop_device_of_4096_byte_sectors", || loop_device("4096")),
    ]
}

/// Leaves the machine's mounts to the machine.
fn own_mounts() -> Result<(), String> {
    // SAFETY: unshare takes a number; no thread but this one exists yet.
    match unsafe { libc::unshare(libc::CLONE_NEWNS) } {
        0 => run("mount", &["--make-rprivate", "/"]).map(drop),
        _ => Err("needs root".to_owned()),
    }
}

fn file_system(kind: &str, options: &[&str]) -> Result<Storage, String> {
    let scratch = Scratch::new();
    let image = scratch.image("file-system", FILE_SYSTEM_BYTES, b"", 0);
    run(
        &format!("mkfs.{kind}"),
        &[options, &[text(&image)]].concat(),
    )?;
    mount(scratch, None, &["-t", kind, "-o", "loop", text(&image)])
}

fn shared(storage: Storage) -> Result<Storage, String> {
    match storage {
        Storage::Directory(path, Some(mount)) => Ok(Storage::Shared(path, mount)),
        other => Ok(other),
    }
}

fn tmpfs() -> Result<Storage, String> {
    mount(
        Scratch::new(),
        None,
        &["-t", "tmpfs", "-o", "size=256m", "none"],
    )
}

fn mount(scratch: Scratch, device: Option<File>, arguments: &[&str]) -> Result<Storage, String> {
    let mount = Mount { scratch, device };
    let point = mount.point();
    fs::create_dir(&point).map_err(|error| error.to_string())?;
    run("mount", &[arguments, &[text(&point)]].concat())?;
    Ok(Storage::Directory(point, Some(mount)))
}

/// A file system on a device whose sectors are larger than what guests expect.
fn large_sectors() -> Result<Storage, String> {
    let (path, held) = attach(FILE_SYSTEM_BYTES, "4096")?;
    run("mkfs.ext4", &["-q", text(&path)])?;
    mount(Scratch::new(), Some(held), &["-t", "ext4", text(&path)])
}

fn loop_device(sector_bytes: &str) -> Result<Storage, String> {
    attach(IMAGE_BYTES, sector_bytes).map(|(path, held)| Storage::Device(path, held))
}

/// A loop device, held open by the file that comes with it.
fn attach(len_bytes: u64, sector_bytes: &str) -> Result<(PathBuf, File), String> {
    let scratch = Scratch::new();
    let image = scratch.image("device", len_bytes, b"", 0);
    let options = [
        "--find",
        "--show",
        "--sector-size",
        sector_bytes,
        text(&image),
    ];
    let path = PathBuf::from(run("losetup", &options)?.trim());
    let held = File::open(&path).map_err(|error| error.to_string());
    // While it is open this only marks it: it detaches itself after the last close.
    run("losetup", &["--detach", text(&path)])?;
    Ok((path, held?))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("scratch paths are text")
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|_| format!("needs {program}"))?;
    let failed = || {
        format!(
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )
    };
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(failed())
    }
}

/// Where the kernel tells of timers, the wait for a lock leaves none.
pub(crate) fn no_timer_is_left_behind() -> Trial {
    const TIMERS: &str = "/proc/self/timers";
    let missing = !Path::new(TIMERS).exists();
    let trial = Trial::test("lock::the_wait_leaves_no_timer_behind", || {
        let scratch = Scratch::new();
        let path = scratch.image("image", IMAGE_BYTES, b"", 0);
        let (holder, waiter) = (open(&path, false), open(&path, false));
        lock::take(holder.as_fd(), Mode::Exclusive).expect("it is free");
        let limit = Duration::from_millis(20);
        lock::wait(waiter.as_fd(), Mode::Exclusive, limit).expect_err("it is held");
        let timers = fs::read_to_string(TIMERS).expect("our timers");
        assert_eq!(timers, "");
        Ok(())
    });
    let kind = if missing {
        "needs CONFIG_CHECKPOINT_RESTORE"
    } else {
        ""
    };
    trial.with_ignored_flag(missing).with_kind(kind)
}
