//! Where the lab keeps what it has fetched and assembled, and how a part of it becomes valid.
//!
//! It knows nothing of what the parts are. Invariant: a directory under its final name is whole;
//! it was made under another name and renamed, and its stamp names the inputs it was made from.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use crate::error::{Doing as _, Failure};

/// The stamp's name inside a finished directory.
const STAMP: &str = ".stamp";

/// The lab's directory.
#[derive(Clone, Debug)]
pub struct Cache {
    /// Its root.
    pub dir: PathBuf,
}

impl Cache {
    /// The cache that the environment names; it is created.
    pub fn open() -> Result<Self, Failure> {
        let dir = place(|name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        })
        .ok_or_else(|| {
            Failure::new("neither HALCYON_LAB nor HOME says where the lab's files go")
        })?;
        fs::create_dir_all(&dir).doing(|| format!("creating {}", dir.display()))?;
        let dir = dir
            .canonicalize()
            .doing(|| format!("finding {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// Waits until no other process fetches or assembles here; the lock ends with the value.
    pub fn lock(&self) -> Result<File, Failure> {
        let path = self.dir.join("lock");
        let file = File::create(&path).doing(|| format!("creating {}", path.display()))?;
        if file.try_lock().is_err() {
            eprintln!(
                "lab: another process is assembling in {}; waiting",
                self.dir.display()
            );
            file.lock()
                .doing(|| format!("locking {}", path.display()))?;
        }
        Ok(file)
    }
}

/// The cache's place, from the environment's answers.
fn place(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let xdg = || Some(variable("XDG_CACHE_HOME")?.join("halcyon/lab"));
    let home = || Some(variable("HOME")?.join(".cache/halcyon/lab"));
    variable("HALCYON_LAB").or_else(xdg).or_else(home)
}

/// A number that changes when any input does. It only ever decides whether work is repeated.
#[must_use]
pub fn stamp(inputs: &[&[u8]]) -> String {
    let mut hasher = DefaultHasher::new();
    inputs.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Makes `dir` with `make` unless it is there with this stamp; says whether it was made.
pub fn make(
    dir: &Path,
    stamp: &str,
    make: impl FnOnce(&Path) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    if fs::read_to_string(dir.join(STAMP)).is_ok_and(|found| found == stamp) {
        return Ok(false);
    }
    let fresh = beside(dir, "new");
    remove(&fresh)?;
    fs::create_dir_all(&fresh).doing(|| format!("creating {}", fresh.display()))?;
    make(&fresh)?;
    write(&fresh.join(STAMP), stamp)?;
    // A machine that still runs from the old files keeps them open.
    let old = beside(dir, "old");
    remove(&old)?;
    if dir.exists() {
        fs::rename(dir, &old).doing(|| format!("replacing {}", dir.display()))?;
    }
    fs::rename(&fresh, dir).doing(|| format!("putting {} in place", dir.display()))?;
    remove(&old)?;
    Ok(true)
}

/// The directory's name with an ending that no finished directory has.
fn beside(dir: &Path, ending: &str) -> PathBuf {
    let name = dir
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    dir.with_file_name(format!("{name}.{ending}"))
}

/// Removes a directory and all in it; none there is as good.
pub fn remove(dir: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).doing(|| format!("removing {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// Writes a file, directories before it included.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), Failure> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).doing(|| format!("creating {}", parent.display()))?;
    fs::write(path, content).doing(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn the_labs_own_variable_wins_over_the_users_cache() {
        let both = |name: &str| Some(PathBuf::from(format!("/{name}")));
        assert_eq!(place(both), Some(PathBuf::from("/HALCYON_LAB")));
    }

    #[test]
    fn without_any_variable_but_home_the_cache_lies_in_it() {
        let home = |name: &str| (name == "HOME").then(|| PathBuf::from("/h"));
        assert_eq!(place(home), Some(PathBuf::from("/h/.cache/halcyon/lab")));
    }

    #[test]
    fn a_stamp_changes_with_any_input_and_with_where_one_ends() {
        let stamps = [
            stamp(&[b"ab", b"c"]),
            stamp(&[b"a", b"bc"]),
            stamp(&[b"ab", b"d"]),
        ];
        assert_ne!(stamps[0], stamps[1]);
        assert_ne!(stamps[0], stamps[2]);
    }

    #[test]
    fn what_was_made_from_the_same_inputs_is_not_made_again() {
        let scratch = Scratch::new("again");
        let dir = scratch.join("part");
        assert!(make(&dir, "1", |into| write(&into.join("x"), "1")).expect("made"));
        assert!(!make(&dir, "1", |_| Err(Failure::new("not called"))).expect("kept"));
        assert!(make(&dir, "2", |into| write(&into.join("x"), "2")).expect("made"));
        assert_eq!(fs::read(dir.join("x")).expect("there"), b"2");
    }

    #[test]
    fn what_failed_half_way_is_not_taken_for_whole() {
        let scratch = Scratch::new("half");
        let dir = scratch.join("part");
        let half = make(&dir, "1", |into| {
            write(&into.join("x"), "1")?;
            Err(Failure::new("disk full"))
        });
        assert_eq!(half.expect_err("failed").to_string(), "disk full");
        assert!(!dir.exists());
    }
}
