//! `halcyon sim start`: the simulated host's process, in the foreground or behind us.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use sim::live::host::Host;
use sim::live::{Control, HOST_SOCKET, STORE_SOCKET};

use crate::error::{Doing as _, Exit, Failure};
use crate::signals;

/// Longest path of a unix socket (`sockaddr_un`), without its closing NUL.
const SOCKET_PATH_MAX: usize = 107;

/// Starts a host in `dir` and says how to reach it.
pub fn run(dir: &Path, foreground: bool, while_stdin: bool) -> Result<(), Failure> {
    make_dir(dir)?;
    if !foreground {
        return behind_us(dir);
    }
    signals::accept().doing(|| "unblock signals".into())?;
    let mut host = Host::bind(dir, |line| tracing::warn!("{line}"))
        .doing(|| format!("start a simulated host in {}", dir.display()))?;
    if while_stdin {
        stop_after_stdin(dir);
    }
    greet(dir)?;
    host.run().doing(|| "simulated host".into())
}

fn make_dir(dir: &Path) -> Result<(), Failure> {
    let what = || format!("create directory {}", dir.display());
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .doing(what)?;
    let len = dir.join(STORE_SOCKET).as_os_str().len();
    if len > SOCKET_PATH_MAX {
        return Err(Failure::failed(format!(
            "{}: too long for sockets below it ({len} bytes, {SOCKET_PATH_MAX} at most); use a \
             shorter directory",
            dir.display()
        )));
    }
    Ok(())
}

/// Runs the host in a process of its own, out of reach of our terminal, and waits for its greeting.
fn behind_us(dir: &Path) -> Result<(), Failure> {
    let what = || "start the simulated host".to_owned();
    let log_path = dir.join("host.log");
    let log = fs::File::create(&log_path).doing(|| format!("create {}", log_path.display()))?;
    let mut child = Command::new(std::env::current_exe().doing(what)?)
        .arg("--platform")
        .arg(format!("sim:{}", dir.display()))
        .args(["sim", "start", "--foreground"])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .doing(what)?;
    let mut greeting = [0; 1];
    let greeted = match &mut child.stdout {
        Some(out) => out.read(&mut greeting).doing(what)?,
        None => 0,
    };
    if greeted == 0 {
        let said = fs::read_to_string(&log_path).unwrap_or_default();
        return Err(Failure::failed(said.trim().trim_start_matches("halcyon: ")));
    }
    greet(dir)
}

/// The host ends with whoever holds the other end of its standard input: one thread that sleeps
/// until then.
fn stop_after_stdin(dir: &Path) {
    let dir = dir.to_owned();
    std::thread::spawn(move || {
        let ended = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        tracing::debug!("standard input ended: {ended:?}");
        if Control::connect(&dir)
            .and_then(|control| control.stop())
            .is_err()
        {
            // Its directory is gone already, and with it the way to be asked.
            std::process::exit(i32::from(Exit::Ok.code()));
        }
    });
}

fn greet(dir: &Path) -> Result<(), Failure> {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let text = format!(
        "# simulated host listens on {}; for halcyon and for Debian's xenstore tools:\n\
         export HALCYON_SIM={}\n\
         export XENSTORED_PATH={}\n",
        dir.join(HOST_SOCKET).display(),
        quoted(&dir),
        quoted(&dir.join(STORE_SOCKET)),
    );
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .doing(|| "write to stdout".into())
}

/// A path as one word of a shell's.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+:,@%".contains(c);
    if text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        assert_eq!(quoted(Path::new("/run/a-b")), "/run/a-b");
        assert_eq!(quoted(Path::new("/a b'c")), r"'/a b'\''c'");
    }
}
