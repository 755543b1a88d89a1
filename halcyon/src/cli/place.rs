//! Where things are: the platform, and the directory for state that outlives no reboot.
//!
//! It touches nothing: it only decides names from arguments, environment and what exists. Invariant:
//! every command means the same place by the same arguments and environment.

use std::fmt;
use std::path::{Path, PathBuf};

use sim::live::HOST_SOCKET;

use crate::error::{Exit, Failure};

/// `--platform`, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlatformArg {
    /// This machine is a Xen control or driver domain.
    Linux,
    /// A simulated host lives in this directory.
    Sim(PathBuf),
}

impl fmt::Display for PlatformArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linux => f.write_str("linux"),
            Self::Sim(dir) => write!(f, "sim:{}", dir.display()),
        }
    }
}

impl std::str::FromStr for PlatformArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "linux" => Ok(Self::Linux),
            Some(("sim", dir)) if !dir.is_empty() => Ok(Self::Sim(dir.into())),
            _ => Err("expected linux or sim:DIR".into()),
        }
    }
}

/// The platform to use: what was asked, else Xen where it is, else the simulated host that the
/// environment names, else the one at the default place.
pub fn platform(asked: Option<PlatformArg>) -> Result<PlatformArg, Failure> {
    let unnamed = default_sim_dir();
    let sim = named_sim_dir().or_else(|| unnamed.join(HOST_SOCKET).exists().then_some(unnamed));
    choose(asked, Path::new("/dev/xen").exists(), sim)
}

/// The directory in the environment.
fn named_sim_dir() -> Option<PathBuf> {
    let dir = std::env::var_os("HALCYON_SIM").filter(|dir| !dir.is_empty());
    dir.map(PathBuf::from)
}

/// Where a simulated host lives that was given no directory.
fn default_sim_dir() -> PathBuf {
    runtime_dir("halcyon-sim")
}

fn choose(
    asked: Option<PlatformArg>,
    xen_is_here: bool,
    sim: Option<PathBuf>,
) -> Result<PlatformArg, Failure> {
    if let Some(platform) = asked {
        return Ok(platform);
    }
    if xen_is_here {
        return Ok(PlatformArg::Linux);
    }
    sim.map(PlatformArg::Sim).ok_or_else(|| {
        Failure::new(
            Exit::NoPlatform,
            "no /dev/xen here, HALCYON_SIM is not set and no simulated host runs at the default \
             place: start one with `halcyon sim start`, or run `halcyon demo`",
        )
    })
}

/// The directory of the simulated host that `halcyon sim` means.
pub fn sim_dir(asked: Option<PlatformArg>) -> Result<PathBuf, Failure> {
    match asked {
        Some(PlatformArg::Sim(dir)) => Ok(dir),
        Some(PlatformArg::Linux) => Err(Failure::new(
            Exit::Usage,
            "`halcyon sim` plays a simulated host: name it with --platform sim:DIR",
        )),
        None => Ok(named_sim_dir().unwrap_or_else(default_sim_dir)),
    }
}

/// Where `halcyon sim start` puts a host: `dir`, if that was said, else what [`sim_dir`] says.
pub fn new_sim_dir(asked: Option<PlatformArg>, dir: Option<&Path>) -> Result<PathBuf, Failure> {
    match (asked, dir) {
        (None, Some(dir)) => Ok(dir.to_owned()),
        (Some(_), Some(_)) => Err(Failure::new(
            Exit::Usage,
            "`halcyon sim start` takes a directory or --platform sim:DIR, not both",
        )),
        (asked, None) => sim_dir(asked),
    }
}

/// The state directory of a platform: one directory per VM below it.
#[must_use]
pub fn state_dir(platform: &PlatformArg) -> PathBuf {
    match platform {
        PlatformArg::Linux => runtime_dir("halcyon"),
        PlatformArg::Sim(dir) => dir.join("run"),
    }
}

/// `/run/NAME` for root, `$XDG_RUNTIME_DIR/NAME` for an ordinary user, and where that is not set a
/// directory of the user's own in /tmp.
fn runtime_dir(name: &str) -> PathBuf {
    let uid = crate::proc::user_id();
    if uid == 0 {
        return Path::new("/run").join(name);
    }
    std::env::var_os("XDG_RUNTIME_DIR").map_or_else(
        || PathBuf::from(format!("/tmp/{name}-{uid}")),
        |dir| PathBuf::from(dir).join(name),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_wins_over_what_is_here() {
        let asked = "sim:/x".parse().ok();
        let chosen = choose(asked, true, None).unwrap();
        assert_eq!(chosen, PlatformArg::Sim("/x".into()));
    }

    #[test]
    fn xen_wins_over_the_environment() {
        let chosen = choose(None, true, Some("/x".into())).unwrap();
        assert_eq!(chosen, PlatformArg::Linux);
    }

    #[test]
    fn nothing_named_and_no_xen_says_what_to_do() {
        let failure = choose(None, false, None).unwrap_err();
        assert_eq!(failure.exit, Exit::NoPlatform);
        assert!(failure.to_string().contains("halcyon sim start"));
    }

    #[test]
    fn a_directory_named_twice_is_refused() {
        let twice = new_sim_dir("sim:/x".parse().ok(), Some(Path::new("/y")));
        assert_eq!(twice.unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn a_platform_that_is_neither_is_refused() {
        assert!("kvm".parse::<PlatformArg>().is_err());
        assert!("sim:".parse::<PlatformArg>().is_err());
    }
}
