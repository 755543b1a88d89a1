//! apt-get on a state of its own: lists, resolver and downloads, without touching the host's.
//!
//! It knows nothing of what is wanted. What it takes from the host is its proxy configuration and
//! the address of its Debian mirror. Invariant: whatever fails was tried twice and says one line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::closure::{self, Deb};
use crate::cache;
use crate::error::{Doing as _, Failure};
use crate::tools;

/// Where Debian's archive is when the host, being another distribution, knows of none.
const MIRROR: &str = "http://deb.debian.org/debian";

/// One apt state.
#[derive(Debug)]
pub(super) struct Apt {
    dir: PathBuf,
    name: String,
}

impl Apt {
    /// The state in `dir`, for packages of one Debian release.
    pub(super) fn new(dir: &Path, name: &str, suite: &str) -> Result<Self, Failure> {
        for part in ["lists/partial", "cache/archives/partial"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).doing(|| format!("creating {}", path.display()))?;
        }
        cache::write(&dir.join("status"), "")?;
        cache::write(&dir.join("lab.sources"), sources(&mirror(), suite))?;
        Ok(Self {
            dir: dir.to_owned(),
            name: name.to_owned(),
        })
    }

    fn apt_get(&self) -> Command {
        let place =
            |option: &str, path: &str| format!("{option}={}", self.dir.join(path).display());
        let mut command = tools::command("apt-get");
        command.arg("-q");
        for option in [
            place("Dir::Etc::sourcelist", "lab.sources"),
            place("Dir::State::lists", "lists"),
            place("Dir::State::status", "status"),
            place("Dir::Cache", "cache"),
            "Dir::Etc::sourceparts=/nonexistent".to_owned(),
            "Dir::Etc::preferencesparts=/nonexistent".to_owned(),
            "APT::Architecture=amd64".to_owned(),
            "APT::Install-Recommends=0".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=1".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command
    }

    /// Fetches the archive's lists.
    pub(super) fn update(&self) -> Result<(), Failure> {
        let what = format!("{}: apt-get update", self.name);
        println!("{what}");
        // By itself apt takes a list that it could not fetch for a warning.
        twice(|| tools::run(self.apt_get().args(["update", "--error-on=any"]), &what).map(drop))
    }

    /// The files of the wanted packages and of all they depend on.
    pub(super) fn closure(&self, wanted: &[String]) -> Result<Vec<Deb>, Failure> {
        let what = format!("{}: resolving packages", self.name);
        let list = tools::run(
            self.apt_get()
                .args(["install", "-y", "--print-uris"])
                .args(wanted),
            &what,
        )?;
        let debs = closure::listed(&String::from_utf8_lossy(&list));
        if debs.is_empty() {
            return Err(Failure::new(format!("{what}: apt-get listed no file")));
        }
        Ok(debs)
    }

    /// Brings files into `dir`; one that arrives only in part never has its final name there.
    pub(super) fn download(&self, debs: &[Deb], dir: &Path) -> Result<(), Failure> {
        if debs.is_empty() {
            return Ok(());
        }
        println!("{}: downloading {} packages", self.name, debs.len());
        let arriving = self.dir.join("arriving");
        fs::create_dir_all(&arriving).doing(|| format!("creating {}", arriving.display()))?;
        let exact = debs
            .iter()
            .map(|deb| format!("{}={}", deb.name, deb.version));
        let what = format!("{}: apt-get download", self.name);
        let arguments: Vec<String> = exact.collect();
        twice(|| {
            tools::run(
                self.apt_get()
                    .current_dir(&arriving)
                    .arg("download")
                    .args(&arguments),
                &what,
            )
            .map(drop)
        })?;
        for deb in debs {
            fs::rename(arriving.join(&deb.file), dir.join(&deb.file))
                .doing(|| format!("{what}: taking {}", deb.file))?;
        }
        Ok(())
    }
}

/// A network's hiccup is not worth a failed run.
fn twice(mut step: impl FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
    step().or_else(|first| {
        eprintln!("lab: {first}; once more");
        step()
    })
}

/// Debian's mirror: the one named for the lab, the one the host uses, or the general one.
fn mirror() -> String {
    let host = || {
        let mut indextargets = tools::command("apt-get");
        indextargets.args([
            "indextargets",
            "--format",
            "$(SITE)",
            "Created-By: Packages",
            "Origin: Debian",
        ]);
        let sites = tools::run(&mut indextargets, "asking apt for a mirror").ok()?;
        first_mirror(&String::from_utf8_lossy(&sites))
    };
    std::env::var("HALCYON_LAB_MIRROR")
        .ok()
        .or_else(host)
        .unwrap_or_else(|| MIRROR.to_owned())
}

fn first_mirror(sites: &str) -> Option<String> {
    let plain = |site: &&str| !site.is_empty() && !site.contains("security");
    sites
        .lines()
        .map(str::trim)
        .find(plain)
        .map(|site| site.trim_end_matches('/').to_owned())
}

/// apt's source file for one release, its updates and its security archive.
fn sources(mirror: &str, suite: &str) -> String {
    let stanza = |uri: String, suite: String| {
        format!(
            "Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\nSigned-By: {}\n\n",
            tools::KEYRING
        )
    };
    stanza(mirror.to_owned(), format!("{suite} {suite}-updates"))
        + &stanza(format!("{mirror}-security"), format!("{suite}-security"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_first_mirror_that_is_not_the_security_archive_is_used() {
        let sites = "http://a/debian-security\nhttp://a/debian/\nhttp://b/debian\n";
        assert_eq!(first_mirror(sites).as_deref(), Some("http://a/debian"));
        assert_eq!(first_mirror(""), None);
    }

    #[test]
    fn the_security_archive_lies_beside_the_mirror() {
        let text = sources("http://a/debian", "trixie");
        assert!(text.contains("URIs: http://a/debian\nSuites: trixie trixie-updates\n"));
        assert!(text.contains("URIs: http://a/debian-security\nSuites: trixie-security\n"));
    }

    #[test]
    fn a_step_that_fails_once_is_repeated_once() {
        let mut calls = 0;
        let ended = twice(|| {
            calls += 1;
            (calls == 2)
                .then_some(())
                .ok_or_else(|| Failure::new("hiccup"))
        });
        assert!(ended.is_ok());
        assert_eq!(calls, 2);
    }

    #[test]
    fn a_step_that_fails_twice_has_failed() {
        let mut calls = 0;
        let ended = twice(|| {
            calls += 1;
            Err(Failure::new("down"))
        });
        assert_eq!(ended.expect_err("failed").to_string(), "down");
        assert_eq!(calls, 2);
    }
}
