//! The host's own programs that the lab runs, and what to install where one is missing.
//!
//! It knows nothing of what they are used for. Invariant: a program that is not there, or that
//! fails, becomes one line.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::error::{Doing as _, Failure};

/// Every program the lab runs on the host, with the Debian package it belongs to.
const PACKAGES: [(&str, &str); 9] = [
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
    ("tar", "tar"),
    ("gzip", "gzip"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
    ("depmod", "kmod"),
    ("mkfs.ext4", "e2fsprogs"),
    ("setpriv", "util-linux"),
];

/// What signs Debian's archives; a file rather than a program, and missing on other distributions.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Says in one line all that is missing for assembling, with the command that brings it.
pub fn require_all() -> Result<(), Failure> {
    let mut missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(tool, _)| find(tool).is_none())
        .map(|(_, package)| *package)
        .collect();
    if !std::path::Path::new(KEYRING).exists() {
        missing.push("debian-archive-keyring");
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "missing on this machine: apt-get install --no-install-recommends {}",
        missing.join(" ")
    )))
}

/// The program's path; system directories are searched too, for an ordinary user's PATH lacks them.
fn find(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|dir| dir.join(tool))
        .find(|candidate| candidate.is_file())
}

/// A command of the host. Messages come untranslated, for some are shown and none is translated.
#[must_use]
pub fn command(tool: &str) -> Command {
    let mut command = Command::new(find(tool).unwrap_or_else(|| tool.into()));
    command.env("LC_ALL", "C").stdin(Stdio::null());
    command
}

/// Runs a command to its end and returns what it printed.
pub fn run(command: &mut Command, what: &str) -> Result<Vec<u8>, Failure> {
    let output = command.output().doing(|| missing(command, what))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!(
        "{what}: {} ({})",
        complaint(&said),
        output.status
    )))
}

/// Runs a command with `input` on its stdin and returns what it printed, however it ended: a
/// decompressor that finds something behind its stream complains and has done its work all the same.
pub fn filter(command: &mut Command, input: &[u8], what: &str) -> Result<Vec<u8>, Failure> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .doing(|| missing(command, what))?;
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        // It may stop reading before the end of the input; its output tells whether that mattered.
        scope.spawn(move || stdin.map(|mut pipe| pipe.write_all(input).is_ok()));
        child.wait_with_output()
    });
    Ok(output.doing(|| what.to_owned())?.stdout)
}

fn missing(command: &Command, what: &str) -> String {
    format!("{what}: running {}", command.get_program().display())
}

/// The line of a program's complaints that says most: apt marks errors, others end with them.
fn complaint(said: &str) -> &str {
    let marked = said.lines().find(|line| line.starts_with("E: "));
    let last = || said.lines().rfind(|line| !line.trim().is_empty());
    marked.or_else(last).unwrap_or("it said nothing").trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_marked_error_is_preferred_to_the_last_line() {
        assert_eq!(complaint("W: old\nE: no route\nthe end\n"), "E: no route");
    }

    #[test]
    fn the_last_line_stands_for_other_programs() {
        assert_eq!(complaint("working\ncannot open x\n\n"), "cannot open x");
    }

    #[test]
    fn a_failing_command_becomes_one_line() {
        let failure = run(command("tar").arg("--no-such-option"), "listing").expect_err("fails");
        let text = failure.to_string();
        assert!(
            text.starts_with("listing: ") && !text.contains('\n'),
            "{text}"
        );
    }

    #[test]
    fn a_filter_returns_what_the_program_printed() {
        let packed = filter(command("gzip").arg("-c"), b"hello", "packing").expect("gzip");
        let unpacked = filter(command("gzip").arg("-dc"), &packed, "unpacking").expect("gzip");
        assert_eq!(unpacked, b"hello");
    }
}
