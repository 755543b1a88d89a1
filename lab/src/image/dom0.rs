//! The control domain: its root file system and the small archive that mounts it.
//!
//! It knows nothing of what runs there beyond `dom0/init`. Only named programs and the libraries
//! they need go in; busybox stands for the rest of a system.

use std::fs::{self, File};
use std::path::Path;

use super::modules::Modules;
use super::{Tree, busybox};
use crate::cache;
use crate::cpio::Archive;
use crate::error::{Doing as _, Failure};
use crate::stack::Stack;
use crate::tools;

/// Programs in full: shells and tools that scenarios use, where busybox's are missing or poorer.
const PROGRAMS: [&str; 31] = [
    "bash",
    "strace",
    "fio",
    "ip",
    "bridge",
    "tc",
    "losetup",
    "blockdev",
    "flock",
    "taskset",
    "chrt",
    "getopt",
    "mkfs.ext4",
    "fsck.ext4",
    "e2fsck",
    "resize2fs",
    "dumpe2fs",
    "debugfs",
    "mountpoint",
    "nsenter",
    "unshare",
    "setpriv",
    "prlimit",
    "xenstore-chmod",
    "xenstore-exists",
    "xenstore-list",
    "xenstore-ls",
    "xenstore-read",
    "xenstore-write",
    "xenstore-rm",
    "xenstore",
];
/// Modules beyond those of the initial archive; a scenario loads what it uses.
const MODULES: [&str; 36] = [
    "drivers/xen/",
    "xen-blkback",
    "xen-blkfront",
    "xen-netback",
    "xen-netfront",
    "drivers/virtio/",
    "virtio_blk",
    "virtio_net",
    "net/9p/",
    "fs/9p/",
    "ext4",
    "xfs",
    "overlay",
    "fuse",
    "loop",
    "null_blk",
    "brd",
    "zram",
    "nbd",
    "ublk_drv",
    "dm-mod",
    "dm-flakey",
    "dm-delay",
    "drivers/nvme/host/",
    "tun",
    "tap",
    "veth",
    "dummy",
    "bridge",
    "8021q",
    "vhost_net",
    "crc32c-intel",
    "crc32c_generic",
    "blktrace",
    "softdog",
    "btrfs",
];
/// Programs of Xen's own directory that need what is left out, and that no scenario uses.
const NO_PROGRAMS: [&str; 5] = [
    "oxenstored",
    "xenpaging",
    "xen-access",
    "pygrub",
    "convert-legacy-stream",
];
/// qemu's firmware for machines that are not PCs.
const NO_FIRMWARE: [&str; 11] = [
    ".lid",
    ".dtb",
    "openbios",
    "slof",
    "palcode",
    "hppa",
    "u-boot",
    "s390",
    "npcm",
    "vof",
    "trace-events",
];
/// The stock device model, wherever the release's package puts it.
const DEVICE_MODELS: [&str; 2] = [
    "/usr/libexec/xen-qemu-system-i386",
    "/usr/bin/qemu-system-i386",
];
const LOADER: &str = "/usr/lib64/ld-linux-x86-64.so.2";
/// Modules that find the root image, in the initial archive.
const BOOT_MODULES: [&str; 4] = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"];
/// Names of busybox that the initial archive's script uses.
const BOOT_PROGRAMS: [&str; 6] = ["sh", "mount", "umount", "insmod", "switch_root", "sleep"];
/// Room in the root file system beyond its content; it is sparse, and every boot starts anew.
const SPARE_BYTES: u64 = 1 << 30;

/// Directories with shared libraries, in the loader's order of search.
fn libraries(stack: &Stack) -> Vec<String> {
    let own = format!("{}/lib/x86_64-linux-gnu", stack.xen_dir());
    let system = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/x86_64-linux-gnu/ceph",
        "/usr/lib",
    ];
    [own].into_iter().chain(system.map(str::to_owned)).collect()
}

pub(super) fn tree(
    root: &Path,
    dir: &Path,
    modules: &Modules,
    stack: &Stack,
    vmlinux: &Path,
) -> Result<(), Failure> {
    let mut tree = Tree::new(root, dir, &libraries(stack))?;
    tree.take_directory(&stack.xen_dir(), &|name| {
        !NO_PROGRAMS.iter().any(|program| name.ends_with(program))
    })?;
    tree.take_directory("/usr/lib/xen-common", &|_| true)?;
    tree.take_directory("/etc/xen", &|_| true)?;
    tree.take_programs(&PROGRAMS)?;
    tree.take(LOADER)?;
    let models = DEVICE_MODELS
        .iter()
        .find(|model| super::tree::resolve(root, model).is_some());
    tree.take(models.unwrap_or(&DEVICE_MODELS[0]))?;
    for firmware in ["/usr/share/qemu", "/usr/share/seabios", "/usr/lib/ipxe"] {
        tree.take_directory(firmware, &|name| {
            !NO_FIRMWARE.iter().any(|part| name.contains(part))
        })?;
    }
    plain_names(&tree, root, stack)?;
    busybox(&mut tree, root)?;
    modules.put(&tree, &MODULES)?;
    configuration(&tree, stack, &modules.release)?;
    tree.directory("guest")?;
    let kernel = dir.join("guest/vmlinux");
    fs::copy(vmlinux, &kernel)
        .doing(|| format!("writing {}", kernel.display()))
        .map(drop)
}

/// Debian wraps Xen's versioned programs in scripts that choose one; here there is one to choose.
fn plain_names(tree: &Tree, root: &Path, stack: &Stack) -> Result<(), Failure> {
    let bin = format!("{}/bin", stack.xen_dir());
    let what = || format!("listing {bin}");
    for entry in fs::read_dir(root.join(bin.trim_start_matches('/'))).doing(what)? {
        let name = entry
            .doing(what)?
            .file_name()
            .to_string_lossy()
            .into_owned();
        let link = format!("usr/sbin/{name}");
        if tree.has(&format!("{bin}/{name}"))
            && !tree.has(&link)
            && !tree.has(&format!("usr/bin/{name}"))
        {
            tree.link(&link, &format!("{bin}/{name}"))?;
        }
    }
    Ok(())
}

fn configuration(tree: &Tree, stack: &Stack, release: &str) -> Result<(), Failure> {
    for dir in [
        "payload",
        "usr/local/bin",
        "results",
        "mnt",
        "var/log/xen/console",
        "var/lib/xen/dump",
    ] {
        tree.directory(dir)?;
    }
    let bin = format!("{}/bin", stack.xen_dir());
    let environment = format!(
        "export STACK={} XEN_VERSION={} KERNEL_RELEASE={release}\n\
         export PATH=/usr/local/bin:/payload/bin:/usr/bin:/usr/sbin:{bin}\n\
         export LD_LIBRARY_PATH={}\n",
        stack.name,
        stack.xen,
        libraries(stack).join(":"),
    );
    tree.write("etc/lab-environment", 0o644, environment)?;
    tree.write("etc/xen/xl.conf", 0o644, "autoballoon=\"off\"\n")?;
    tree.write(
        "etc/passwd",
        0o644,
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    )?;
    tree.write("etc/group", 0o644, "root:x:0:\nnogroup:x:65534:\n")?;
    tree.write("etc/hosts", 0o644, "127.0.0.1 localhost dom0\n")?;
    tree.write(
        "usr/sbin/lab-init",
        0o755,
        include_bytes!("../../dom0/init"),
    )
}

/// Makes a tree a file system. Without a journal it is smaller and nothing is lost: it is thrown
/// away after every boot.
pub(super) fn file_system(dir: &Path, image: &Path) -> Result<(), Failure> {
    let what = || format!("making {}", image.display());
    let file = File::create(image).doing(what)?;
    file.set_len(size(dir)? + SPARE_BYTES).doing(what)?;
    let features = [
        "-q",
        "-F",
        "-O",
        "^has_journal,^metadata_csum,^64bit",
        "-E",
        "root_owner=0:0",
        "-d",
    ];
    tools::run(
        tools::command("mkfs.ext4")
            .args(features)
            .arg(dir)
            .arg(image),
        &what(),
    )
    .map(drop)
}

fn size(dir: &Path) -> Result<u64, Failure> {
    let what = || format!("measuring {}", dir.display());
    fs::read_dir(dir).doing(what)?.try_fold(0, |sum, entry| {
        let entry = entry.doing(what)?;
        let metadata = entry.metadata().doing(what)?;
        Ok(sum
            + if metadata.is_dir() {
                size(&entry.path())?
            } else {
                metadata.len()
            })
    })
}

pub(super) fn initrd(root: &Path, dir: &Path, modules: &Modules, to: &Path) -> Result<(), Failure> {
    let mut tree = Tree::new(root, dir, &[])?;
    tree.take("/usr/bin/busybox")?;
    for name in BOOT_PROGRAMS {
        tree.link(&format!("usr/bin/{name}"), "busybox")?;
    }
    tree.directory("newroot")?;
    let loading: String = modules
        .put(&tree, &BOOT_MODULES)?
        .iter()
        .map(|module| format!("insmod {module}\n"))
        .collect();
    tree.write("init", 0o755, format!("{MOUNT}{loading}{SWITCH}"))?;
    let mut archive = Archive::default();
    archive.tree(dir)?;
    cache::write(to, archive.finish()?)
}

/// The initial archive's script, before and after its modules.
const MOUNT: &str = "#!/bin/sh\nexport PATH=/bin:/sbin\nmount -t proc proc /proc\nmount -t sysfs sys /sys\nmount -t devtmpfs dev /dev\n";
const SWITCH: &str = "for turn in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/vda ] && break; sleep 0.2; done\n\
    mount -t ext4 -o noatime /dev/vda /newroot || { echo '### lab: no root file system'; sleep 1; exit 1; }\n\
    umount /sys /proc\nmount --move /dev /newroot/dev\nexec switch_root /newroot /sbin/lab-init\n";
