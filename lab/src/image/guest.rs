//! The base of a guest's archive: busybox, the file system's tools, and the front ends.
//!
//! It knows nothing of what guests do: their init and their steps come in at run time, in archives
//! put before this one.

use std::path::Path;

use super::modules::Modules;
use super::{Tree, busybox};
use crate::cache;
use crate::cpio::Archive;
use crate::error::Failure;
use crate::tools;

/// Front ends, and a root file system for guests that have one on a disk.
const MODULES: [&str; 4] = ["xen-blkfront", "xen-netfront", "ext4", "crc32c_generic"];
/// Programs that busybox does not have, or not well enough.
const PROGRAMS: [&str; 2] = ["mkfs.ext4", "fsck.ext4"];
/// Where those programs' libraries are, and what loads them.
const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";
const LOADER: &str = "/usr/lib64/ld-linux-x86-64.so.2";

pub(super) fn base(root: &Path, dir: &Path, modules: &Modules, to: &Path) -> Result<(), Failure> {
    let mut tree = Tree::new(root, dir, &[LIBRARIES.to_owned()])?;
    tree.take_programs(&PROGRAMS)?;
    tree.take(LOADER)?;
    busybox(&mut tree, root)?;
    modules.put(&tree, &MODULES)?;
    let mut archive = Archive::default();
    archive.tree(dir)?;
    // Reading it is what costs a guest its time, not decompressing it.
    let packed = tools::filter(
        tools::command("gzip").arg("-9c"),
        &archive.finish()?,
        "compressing the guests' archive",
    )?;
    cache::write(to, packed)
}
