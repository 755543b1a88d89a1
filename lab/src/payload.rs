//! What a run shares with its machines: the project's binaries, the scenarios, the guests' archive.
//!
//! It knows nothing of the machine. Invariant: all of it is copied or built before the machine
//! boots, so that a build that goes on beside it changes nothing under a running scenario.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cache;
use crate::cpio::Archive;
use crate::error::{Doing as _, Failure};
use crate::image::Image;
use crate::scenario::{Need, Scenario};
use crate::tools;

/// The repository's root, which the crate's own folder lies in.
#[must_use]
pub fn repository() -> PathBuf {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.parent().unwrap_or(crate_dir).to_owned()
}

/// The project's binaries for one run.
#[derive(Debug)]
pub struct Built {
    /// The program under test.
    halcyon: PathBuf,
    /// The guests' tool.
    lab_io: PathBuf,
    /// What else scenarios asked for: name in the machine, and file.
    others: Vec<(String, PathBuf)>,
}

/// Builds what the scenarios need and puts a copy of each into `dir`, so that a build beside the run
/// does not change what is under test. The program under test may be given instead.
pub fn build(
    scenarios: &[Scenario],
    halcyon: Option<&Path>,
    profile: &str,
    dir: &Path,
) -> Result<Built, Failure> {
    let bin =
        |package: &str, name: &str| cargo(profile, &["build", "-p", package, "--bin", name], name);
    let taken = |name: &str, path: &Path| {
        let kept = dir.join(name);
        copy(path, &kept).map(|()| kept)
    };
    let halcyon = halcyon.map_or_else(|| bin("halcyon", "halcyon"), |path| Ok(path.to_owned()))?;
    let mut built = Built {
        halcyon: taken("halcyon", &halcyon)?,
        lab_io: taken("lab-io", &bin("lab", "lab-io")?)?,
        others: Vec::new(),
    };
    for need in scenarios.iter().flat_map(|scenario| &scenario.needs) {
        let name = match need {
            Need::Test(package, name) => format!("{package}-{name}"),
            Need::Bin(_, name) | Need::Example(_, name) => name.clone(),
            Need::File(_) => continue,
        };
        if built.others.iter().all(|(other, _)| *other != name) {
            let kept = taken(&name, &target(need, profile)?)?;
            built.others.push((name, kept));
        }
    }
    Ok(built)
}

/// Builds one thing that a scenario needs.
fn target(need: &Need, profile: &str) -> Result<PathBuf, Failure> {
    match need {
        // Tests keep the checks that a release build leaves out.
        Need::Test(package, name) => {
            let words = ["test", "--no-run", "-p", package, "--test", name];
            cargo("dev", &words, name)
        }
        Need::Bin(package, name) => cargo(profile, &["build", "-p", package, "--bin", name], name),
        Need::Example(package, name) => {
            cargo(profile, &["build", "-p", package, "--example", name], name)
        }
        Need::File(path) => Ok(repository().join(path)),
    }
}

/// Has cargo build one target and tell where it lies.
fn cargo(profile: &str, words: &[&str], target: &str) -> Result<PathBuf, Failure> {
    println!("building: cargo {} --profile {profile}", words.join(" "));
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = tools::command("cargo");
    if let Some(own) = std::env::var_os("CARGO") {
        command = std::process::Command::new(own);
    }
    command.current_dir(repository()).args(words).args([
        "--profile",
        profile,
        "--message-format=json-render-diagnostics",
    ]);
    command.stderr(std::process::Stdio::inherit());
    let output = command
        .output()
        .doing(|| format!("running {}", program.display()))?;
    if !output.status.success() {
        return Err(Failure::new(format!(
            "cargo {} failed; its errors stand above",
            words.join(" ")
        )));
    }
    executable(&String::from_utf8_lossy(&output.stdout), target).ok_or_else(|| {
        Failure::new(format!(
            "cargo {} built no program named {target}",
            words.join(" ")
        ))
    })
}

/// The file of a target in cargo's messages.
fn executable(messages: &str, target: &str) -> Option<PathBuf> {
    let file = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let named = message["target"]["name"].as_str() == Some(target);
        message["executable"]
            .as_str()
            .filter(|_| named)
            .map(PathBuf::from)
    };
    messages.lines().rev().find_map(file)
}

/// Lays the payload out in `dir`: see `dom0/init` and `dom0/run` for who reads what.
pub fn lay_out(
    dir: &Path,
    built: &Built,
    image: &Image,
    main: &str,
    scenarios: &[Scenario],
    patience: u32,
) -> Result<(), Failure> {
    let source = repository().join("lab");
    copy(&built.halcyon, &dir.join("programs/halcyon"))?;
    copy(&built.lab_io, &dir.join("programs/lab-io"))?;
    for (name, path) in &built.others {
        copy(path, &dir.join("bin").join(name))?;
    }
    copy(&source.join("dom0").join(main), &dir.join("main"))?;
    copy(&source.join("dom0/lib.sh"), &dir.join("dom0/lib.sh"))?;
    cache::write(
        &dir.join("guest/initrd"),
        guest_archive(&built.lab_io, image)?,
    )?;
    let mut plan = String::new();
    for scenario in scenarios {
        copy(
            &scenario.path,
            &dir.join("scenarios").join(format!("{}.sh", scenario.name)),
        )?;
        plan += &format!(
            "{} {}\n",
            scenario.name,
            (scenario.timeout * patience).as_secs()
        );
        for need in &scenario.needs {
            if let Need::File(path) = need {
                copy(
                    &repository().join(path),
                    &dir.join("files").join(path.file_name().unwrap_or_default()),
                )?;
            }
        }
    }
    let modules = scenarios
        .first()
        .map(|first| first.hardware.modules.join("\n"))
        .unwrap_or_default();
    cache::write(&dir.join("modules"), modules + "\n")?;
    cache::write(&dir.join("patience"), format!("{patience}\n"))?;
    cache::write(&dir.join("plan"), plan)
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let parent = to.parent().unwrap_or(to);
    fs::create_dir_all(parent).doing(|| format!("creating {}", parent.display()))?;
    fs::copy(from, to)
        .doing(|| format!("copying {} to {}", from.display(), to.display()))
        .map(drop)
}

/// What changes goes before the packages' part: an uncompressed archive may be followed by anything.
fn guest_archive(lab_io: &Path, image: &Image) -> Result<Vec<u8>, Failure> {
    let read = |path: &Path| fs::read(path).doing(|| format!("reading {}", path.display()));
    let mut archive = Archive::default();
    archive.directory("usr")?;
    archive.directory("usr/bin")?;
    archive.file("usr/bin/lab-io", 0o755, &read(lab_io)?)?;
    archive.file("init", 0o755, &read(&repository().join("lab/guest/init"))?)?;
    let mut bytes = archive.finish()?;
    bytes.extend(read(&image.guest_base())?);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_in_cargos_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"abi\"},\"executable\":null}\n\
            not json\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"linux\"},\"executable\":\"/t/linux-1\"}\n\
            {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(
            executable(messages, "linux"),
            Some(PathBuf::from("/t/linux-1"))
        );
        assert_eq!(executable(messages, "abi"), None);
    }
}
