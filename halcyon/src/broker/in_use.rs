//! Whether this domain itself uses an image that a guest is to write to: a file system that two
//! kernels have mounted is lost.
//!
//! A block device is opened once more with O_EXCL, which the kernel refuses while it has claimed the
//! device: mounted, swap, part of a volume group or a RAID, whole or in part. Our claim is given
//! back at once. A file is looked for behind the loop devices, which are numbered from 0 on without
//! gaps; as no disk that we serve has one, that costs what this domain uses them for itself,
//! however many guests there are.
//!
//! It knows nothing of other guests, for whom there is the lock, and nothing of a file that a
//! guest of another host uses. Invariant: what it cannot find out stands in nobody's way.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Where the kernel lists block devices.
const BLOCK: &str = "/sys/block";
/// Loop devices that are looked at.
const LOOPS_MAX: u32 = 256;

/// How this domain uses an open image, if it does.
pub(super) fn by_this_domain(image: &File) -> Option<String> {
    let kind = image.metadata().ok()?.file_type();
    if kind.is_block_device() {
        return claimed(image).then(|| {
            "is in use in this very domain (mounted, or part of a volume): a guest's writes would \
             destroy it"
                .to_owned()
        });
    }
    let device = loop_of(image, Path::new(BLOCK))?;
    Some(format!(
        "is /dev/{device} of this very domain, too, where it may be mounted or another guest's \
         disk: `losetup -d /dev/{device}` if it is neither"
    ))
}

/// Whether the kernel, or a program that asked for it, has the device for itself.
fn claimed(device: &File) -> bool {
    let path = format!("/proc/self/fd/{}", device.as_raw_fd());
    let mut options = OpenOptions::new();
    let options = options
        .read(true)
        .custom_flags(libc::O_EXCL | libc::O_NONBLOCK);
    let error = options.open(path).err();
    error.is_some_and(|error| error.raw_os_error() == Some(libc::EBUSY))
}

/// The loop device that shows this file.
fn loop_of(image: &File, block: &Path) -> Option<String> {
    let number = |meta: fs::Metadata| (meta.dev(), meta.ino());
    let wanted = image.metadata().ok().map(number)?;
    let names = (0..LOOPS_MAX).map(|number| format!("loop{number}"));
    let mut loops = names.take_while(|name| block.join(name).exists());
    loops.find(|name| {
        // Only where something is attached to it.
        let file = fs::read_to_string(block.join(name).join("loop/backing_file"));
        let found = file.and_then(|path| fs::metadata(path.trim_end_matches('\n')));
        found.is_ok_and(|found| number(found) == wanted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch::Scratch;

    fn file(path: &Path) -> File {
        fs::write(path, "x").unwrap();
        File::open(path).unwrap()
    }

    /// loop0 has nothing, loop1 shows the first of these files.
    fn loops(dir: &Path, shown: &Path) {
        fs::create_dir_all(dir.join("loop0")).unwrap();
        fs::create_dir_all(dir.join("loop1/loop")).unwrap();
        let line = format!("{}\n", shown.display());
        fs::write(dir.join("loop1/loop/backing_file"), line).unwrap();
    }

    #[test]
    fn a_file_behind_a_loop_device_is_found_by_whatever_name() {
        let dir = Scratch::new().unwrap();
        let (path, link) = (dir.path().join("a"), dir.path().join("b"));
        let image = file(&path);
        fs::hard_link(&path, &link).unwrap();
        loops(dir.path(), &link);
        assert_eq!(loop_of(&image, dir.path()).as_deref(), Some("loop1"));
    }

    #[test]
    fn a_file_that_nobody_shows_is_free_with_and_without_loop_devices() {
        let dir = Scratch::new().unwrap();
        let (image, other) = (dir.path().join("a"), dir.path().join("b"));
        let image = file(&image);
        assert_eq!(loop_of(&image, dir.path()), None);
        loops(dir.path(), &other);
        assert_eq!(loop_of(&image, dir.path()), None);
        file(&other);
        assert_eq!(loop_of(&image, dir.path()), None);
    }
}
