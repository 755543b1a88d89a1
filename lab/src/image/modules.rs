//! Kernel modules: which a machine gets, with all that they depend on, and in which order they load.
//!
//! It knows nothing of the machine. Modules go in decompressed, for each is decompressed once here
//! or at every boot there, under emulation. Invariant: a module comes after all it depends on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::tree::Tree;
use crate::error::{Doing as _, Failure};
use crate::tools;

/// The modules of one unpacked kernel package.
#[derive(Debug)]
pub(super) struct Modules {
    dir: PathBuf,
    /// The kernel's release, which names their directory.
    pub(super) release: String,
    needs: BTreeMap<String, Vec<String>>,
}

impl Modules {
    /// Reads them; the package leaves it to its installation to list dependencies, so depmod does.
    pub(super) fn read(root: &Path) -> Result<Self, Failure> {
        let parent = root.join("usr/lib/modules");
        let what = || format!("looking for a kernel in {}", parent.display());
        let entries = fs::read_dir(&parent)
            .doing(what)?
            .collect::<Result<Vec<_>, _>>()
            .doing(what)?;
        let newest = entries
            .iter()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .max();
        let release = newest.ok_or_else(|| Failure::new(what()))?;
        depmod(root, &release)?;
        let dir = parent.join(&release);
        let list = fs::read_to_string(dir.join("modules.dep")).doing(what)?;
        Ok(Self {
            dir,
            release,
            needs: dependencies(&list),
        })
    }

    /// Puts the modules that `names` chooses into a tree; returns their paths in order of loading.
    pub(super) fn put(&self, tree: &Tree, names: &[&str]) -> Result<Vec<String>, Failure> {
        let base = format!("usr/lib/modules/{}", self.release);
        let mut loaded = Vec::new();
        for module in ordered(&self.needs, names) {
            let plain = format!("{base}/{}", uncompressed(&module));
            tree.write(&plain, 0o644, self.content(&module)?)?;
            loaded.push(format!("/{plain}"));
        }
        for list in [
            "modules.builtin",
            "modules.builtin.modinfo",
            "modules.order",
        ] {
            let content = fs::read(self.dir.join(list)).doing(|| format!("reading {list}"))?;
            tree.write(&format!("{base}/{list}"), 0o644, content)?;
        }
        depmod(&tree.dir, &self.release)?;
        Ok(loaded)
    }

    fn content(&self, module: &str) -> Result<Vec<u8>, Failure> {
        let path = self.dir.join(module);
        let what = format!("decompressing {module}");
        match module.rsplit('.').next() {
            Some("xz") => tools::run(tools::command("xz").arg("-dc").arg(path), &what),
            Some("zst") => tools::run(tools::command("zstd").arg("-dcq").arg(path), &what),
            _ => fs::read(&path).doing(|| format!("reading {module}")),
        }
    }
}

fn depmod(root: &Path, release: &str) -> Result<(), Failure> {
    tools::run(
        tools::command("depmod").arg("-b").arg(root).arg(release),
        "depmod",
    )
    .map(drop)
}

/// `modules.dep`: a module, a colon, and what must be loaded before it, nearest first.
fn dependencies(list: &str) -> BTreeMap<String, Vec<String>> {
    let entry = |line: &str| {
        let (module, needs) = line.split_once(':')?;
        Some((
            module.to_owned(),
            needs.split_whitespace().rev().map(str::to_owned).collect(),
        ))
    };
    list.lines().filter_map(entry).collect()
}

/// The chosen modules with all they need, in order of loading. A name with a slash chooses a
/// directory, any other the module of that name. The kernel may have it built in: then there is none.
fn ordered(needs: &BTreeMap<String, Vec<String>>, names: &[&str]) -> Vec<String> {
    let mut order = Vec::new();
    for name in names {
        for module in needs.keys().filter(|path| chosen(path, name)) {
            for one in needs[module].iter().chain([module]) {
                if !order.contains(one) {
                    order.push(one.clone());
                }
            }
        }
    }
    order
}

fn chosen(path: &str, name: &str) -> bool {
    let module = uncompressed(path.rsplit('/').next().unwrap_or(path));
    let same = |a: &str, b: &str| a.replace('-', "_") == b.replace('-', "_");
    if name.contains('/') {
        path.contains(name)
    } else {
        module
            .strip_suffix(".ko")
            .is_some_and(|module| same(module, name))
    }
}

fn uncompressed(path: &str) -> &str {
    path.trim_end_matches(".xz")
        .trim_end_matches(".zst")
        .trim_end_matches(".gz")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "kernel/fs/ext4/ext4.ko.xz: kernel/lib/crc16.ko.xz kernel/fs/jbd2/jbd2.ko.xz kernel/fs/mbcache.ko.xz\n\
        kernel/lib/crc16.ko.xz:\nkernel/fs/jbd2/jbd2.ko.xz:\nkernel/fs/mbcache.ko.xz:\n\
        kernel/drivers/xen/xen-evtchn.ko.xz:\nkernel/drivers/xen/xen-gntdev.ko.xz:\n";

    #[test]
    fn a_module_comes_after_all_it_needs_and_once() {
        let order = ordered(&dependencies(LIST), &["ext4", "jbd2"]);
        let expected = ["fs/mbcache", "fs/jbd2/jbd2", "lib/crc16", "fs/ext4/ext4"];
        assert_eq!(
            order,
            expected.map(|module| format!("kernel/{module}.ko.xz"))
        );
    }

    #[test]
    fn a_name_with_a_slash_chooses_a_directory() {
        assert_eq!(ordered(&dependencies(LIST), &["drivers/xen/"]).len(), 2);
    }

    #[test]
    fn hyphens_and_underscores_are_one_in_a_modules_name() {
        assert!(chosen(
            "kernel/drivers/block/xen-blkback/xen-blkback.ko",
            "xen_blkback"
        ));
        assert!(!chosen("kernel/drivers/block/loop.ko", "loo"));
    }

    #[test]
    fn a_module_built_into_the_kernel_is_none_to_load() {
        assert!(ordered(&dependencies(LIST), &["virtio_blk"]).is_empty());
    }
}
