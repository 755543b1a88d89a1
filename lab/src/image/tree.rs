//! A file system tree in the making: named files of an unpacked closure and the libraries they need.
//!
//! It knows nothing of what the tree is for. Invariant: what is named and not there is an error;
//! links are followed inside the closure and never lead into the host's own files.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::cache;
use crate::elf;
use crate::error::{Doing as _, Failure};

/// Links followed for one name before it counts as a loop.
const LINKS: usize = 16;

/// The tree and where its files come from.
#[derive(Debug)]
pub struct Tree {
    /// The unpacked closure.
    from: PathBuf,
    /// The tree.
    pub dir: PathBuf,
    /// Directories of the closure that hold shared libraries, in the order of search.
    libraries: Vec<String>,
    taken: BTreeSet<String>,
}

impl Tree {
    /// An empty tree with the usual directories, whose /bin, /sbin and /lib are /usr's.
    pub fn new(from: &Path, dir: &Path, libraries: &[String]) -> Result<Self, Failure> {
        let tree = Self {
            from: from.to_owned(),
            dir: dir.to_owned(),
            libraries: libraries.to_vec(),
            taken: BTreeSet::new(),
        };
        for name in [
            "usr/bin",
            "usr/sbin",
            "usr/lib",
            "usr/lib64",
            "proc",
            "sys",
            "dev",
            "tmp",
            "run",
            "etc",
            "root",
            "var/lib",
        ] {
            tree.directory(name)?;
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            tree.link(name, &format!("usr/{name}"))?;
        }
        tree.link("var/run", "../run")?;
        Ok(tree)
    }

    /// Makes a directory and those before it.
    pub fn directory(&self, name: &str) -> Result<(), Failure> {
        let path = self.path(name);
        fs::create_dir_all(&path).doing(|| format!("creating {}", path.display()))
    }

    /// Makes a symbolic link.
    pub fn link(&self, name: &str, target: &str) -> Result<(), Failure> {
        let path = self.path(name);
        symlink(target, &path).doing(|| format!("linking {}", path.display()))
    }

    /// Writes a file with these permission bits.
    pub fn write(&self, name: &str, mode: u32, content: impl AsRef<[u8]>) -> Result<(), Failure> {
        let path = self.path(name);
        cache::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .doing(|| format!("setting the mode of {}", path.display()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name.trim_start_matches('/'))
    }

    /// Whether the tree already has something of that name, be it a link that leads nowhere.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        fs::symlink_metadata(self.path(name)).is_ok()
    }

    /// Takes a file of the closure under its own name, and the libraries that it needs.
    pub fn take(&mut self, name: &str) -> Result<(), Failure> {
        if !self.taken.insert(name.to_owned()) {
            return Ok(());
        }
        let source = resolve(&self.from, name).filter(|path| path.is_file());
        let source = source.ok_or_else(|| Failure::new(format!("the packages have no {name}")))?;
        let to = self.path(name);
        let content = fs::read(&source).doing(|| format!("reading {}", source.display()))?;
        let mode = fs::metadata(&source)
            .doing(|| format!("reading {}", source.display()))?
            .permissions()
            .mode();
        self.write(name, mode, &content)?;
        elf::needed(&content).iter().try_for_each(|library| {
            self.take_library(library)
                .map_err(|error| Failure::new(format!("{error} (needed by {})", to.display())))
        })
    }

    fn take_library(&mut self, library: &str) -> Result<(), Failure> {
        let candidates = self.libraries.iter().map(|dir| format!("{dir}/{library}"));
        let found = candidates
            .into_iter()
            .find(|name| resolve(&self.from, name).is_some_and(|path| path.is_file()));
        self.take(&found.ok_or_else(|| Failure::new(format!("the packages have no {library}")))?)
    }

    /// Takes programs by name, wherever the closure's package put each.
    pub fn take_programs(&mut self, names: &[&str]) -> Result<(), Failure> {
        for name in names {
            let places = [format!("/usr/sbin/{name}"), format!("/usr/bin/{name}")];
            let found = places
                .iter()
                .find(|place| resolve(&self.from, place).is_some_and(|path| path.is_file()));
            self.take(found.unwrap_or(&places[1]))?;
        }
        Ok(())
    }

    /// Takes a directory of the closure with what `wanted` chooses by name, links as they are.
    /// A directory that the closure lacks is none.
    pub fn take_directory(
        &mut self,
        name: &str,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<(), Failure> {
        let source = self.from.join(name.trim_start_matches('/'));
        let Ok(entries) = fs::read_dir(&source) else {
            return Ok(());
        };
        self.directory(name)?;
        for entry in entries {
            let entry = entry.doing(|| format!("reading {}", source.display()))?;
            let inner = format!("{name}/{}", entry.file_name().to_string_lossy());
            let metadata = entry.metadata().doing(|| format!("reading {inner}"))?;
            if !wanted(&inner) {
                continue;
            } else if metadata.is_dir() {
                self.take_directory(&inner, wanted)?;
            } else if metadata.is_symlink() && !self.has(&inner) {
                let target = fs::read_link(entry.path()).doing(|| format!("reading {inner}"))?;
                self.link(&inner, &target.to_string_lossy())?;
            } else if metadata.is_file() {
                self.take(&inner)?;
            }
        }
        Ok(())
    }
}

/// The file behind a name, its links followed inside `root`.
#[must_use]
pub(super) fn resolve(root: &Path, name: &str) -> Option<PathBuf> {
    let mut rest: Vec<String> = parts(name);
    let mut at: Vec<String> = Vec::new();
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        at.push(part);
        let path = root.join(at.join("/"));
        let Ok(target) = fs::read_link(&path) else {
            continue;
        };
        links += 1;
        if links > LINKS {
            return None;
        }
        let target = target.to_string_lossy().into_owned();
        at.truncate(if target.starts_with('/') {
            0
        } else {
            at.len() - 1
        });
        rest.extend(parts(&target));
    }
    let path = root.join(at.join("/"));
    path.exists().then_some(path)
}

/// A path's parts, last first.
fn parts(path: &str) -> Vec<String> {
    path.split('/')
        .rev()
        .filter(|part| !part.is_empty() && *part != ".")
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn scratch(name: &str) -> Scratch {
        let dir = Scratch::new(name);
        cache::write(&dir.join("from/usr/bin/ip"), "program").expect("writable");
        dir
    }

    #[test]
    fn an_absolute_link_is_followed_inside_the_closure() {
        let dir = scratch("link");
        let from = dir.join("from");
        symlink("usr/bin", from.join("bin")).expect("linkable");
        fs::create_dir(from.join("usr/sbin")).expect("creatable");
        symlink("/bin/ip", from.join("usr/sbin/ip")).expect("linkable");
        assert_eq!(
            resolve(&from, "/usr/sbin/ip"),
            Some(from.join("usr/bin/ip"))
        );
    }

    #[test]
    fn a_link_to_itself_leads_nowhere() {
        let dir = scratch("loop");
        let from = dir.join("from");
        symlink("loop", from.join("loop")).expect("linkable");
        assert_eq!(resolve(&from, "/loop"), None);
    }

    #[test]
    fn a_link_that_climbs_above_the_root_stays_inside() {
        let dir = scratch("climb");
        let from = dir.join("from");
        symlink("../../../usr/bin/ip", from.join("up")).expect("linkable");
        assert_eq!(resolve(&from, "up"), Some(from.join("usr/bin/ip")));
    }

    #[test]
    fn what_is_named_and_not_there_is_an_error_that_names_it() {
        let dir = scratch("absent");
        let mut tree = Tree::new(&dir.join("from"), &dir.join("to"), &[]).expect("made");
        let error = tree
            .take_programs(&["ip", "tc"])
            .expect_err("absent")
            .to_string();
        assert_eq!(error, "the packages have no /usr/bin/tc");
        assert!(tree.has("usr/bin/ip"));
    }
}
