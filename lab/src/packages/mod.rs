//! Debian packages by name: what they depend on, their files, and one tree made of them.
//!
//! It knows nothing of what the packages are for. The host's own packages are neither read nor
//! changed: apt works on a state of its own that knows of no installed package. Invariant: a .deb
//! under its own name in the cache was verified by apt and is whole.

mod apt;
mod closure;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::cache::{self, Cache};
use crate::error::{Doing as _, Failure};
use crate::tools;

use apt::Apt;
pub use closure::{Deb, NEVER_RUN};

/// The files of one closure, all in the cache.
#[derive(Debug)]
pub struct Fetched {
    /// Where the files are.
    dir: PathBuf,
    /// Their names, as apt listed them.
    pub debs: Vec<Deb>,
}

/// Has every file of the wanted packages' closure in the cache, less what is left out. A closure
/// that was once resolved is kept, so that what worked yesterday works today and without a network,
/// until `refresh`.
pub fn fetch(
    cache: &Cache,
    name: &str,
    suite: &str,
    wanted: &[String],
    left_out: &[&str],
    refresh: bool,
) -> Result<Fetched, Failure> {
    let dir = cache.dir.join("debs");
    fs::create_dir_all(&dir).doing(|| format!("creating {}", dir.display()))?;
    let list = cache.dir.join(name).join("packages");
    let heading = format!("# {suite}: {}\n", wanted.join(" "));
    let apt = Apt::new(&cache.dir.join(name).join("apt"), name, suite)?;
    if !refresh && let Some(debs) = kept(&list, &heading) {
        let lacking = lacking(&dir, &debs);
        if lacking.is_empty() || apt.download(&lacking, &dir).is_ok() {
            return Ok(Fetched { dir, debs });
        }
        println!("{name}: the archive has moved on from the kept list; resolving anew");
    }
    apt.update()?;
    let mut debs = apt.closure(wanted)?;
    debs.retain(|deb| !deb.is_any_of(left_out));
    apt.download(&lacking(&dir, &debs), &dir)?;
    let lines: String = debs.iter().map(|deb| format!("{}\n", deb.file)).collect();
    cache::write(&list, heading + &lines)?;
    Ok(Fetched { dir, debs })
}

fn kept(list: &Path, heading: &str) -> Option<Vec<Deb>> {
    let text = fs::read_to_string(list).ok()?;
    text.strip_prefix(heading)?
        .lines()
        .map(Deb::parse)
        .collect()
}

fn lacking(dir: &Path, debs: &[Deb]) -> Vec<Deb> {
    debs.iter()
        .filter(|deb| !dir.join(&deb.file).exists())
        .cloned()
        .collect()
}

impl Fetched {
    /// What the tree is made of, as an input of a stamp.
    #[must_use]
    pub fn inputs(&self) -> Vec<u8> {
        self.debs
            .iter()
            .flat_map(|deb| format!("{}\n", deb.file).into_bytes())
            .collect()
    }

    /// Unpacks all of it into one tree, whose /bin, /sbin and /lib are /usr's from the start, so
    /// that a file is found under one path whichever its package chose.
    pub fn unpack(&self, root: &Path) -> Result<(), Failure> {
        for name in ["bin", "sbin", "lib", "lib64"] {
            let usr = root.join("usr").join(name);
            fs::create_dir_all(&usr).doing(|| format!("creating {}", usr.display()))?;
            std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name))
                .doing(|| format!("linking /{name} in {}", root.display()))?;
        }
        self.debs
            .iter()
            .try_for_each(|deb| unpack_one(&self.dir.join(&deb.file), root))
    }
}

fn unpack_one(deb: &Path, root: &Path) -> Result<(), Failure> {
    let what = format!("unpacking {}", deb.display());
    let mut contents = tools::command("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(deb)
        .stdout(Stdio::piped())
        .spawn()
        .doing(|| what.clone())?;
    let pipe = contents.stdout.take().map_or_else(Stdio::null, Stdio::from);
    let unpacked = tools::run(
        tools::command("tar")
            .args(["-x", "--no-same-owner", "--keep-directory-symlink"])
            .args([
                "--exclude=./usr/share/doc*",
                "--exclude=./usr/share/man*",
                "--exclude=./usr/share/locale*",
            ])
            .arg("-C")
            .arg(root)
            .stdin(pipe),
        &what,
    );
    let status = contents.wait().doing(|| what.clone())?;
    unpacked?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!(
            "{what}: dpkg-deb failed ({status}); remove that file and repeat"
        )))
    }
}
