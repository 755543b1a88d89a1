//! The processes of a scene: a simulated host, processes that serve guests, processes that play
//! guests and are told what to do over stdin and stdout, a line of JSON at a time.
//!
//! Invariant: none outlives the test, and nothing is waited for without a limit.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::scratch::Scratch;

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a file or /proc is looked at while something is waited for.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until something is so, or says that it never was.
pub(crate) fn settles(mut is_so: impl FnMut() -> bool, limit: Duration) -> bool {
    let until = Instant::now() + limit;
    while Instant::now() < until {
        if is_so() {
            return true;
        }
        thread::sleep(LOOK);
    }
    is_so()
}

/// A process with a log, killed when dropped; if the test is failing, its log is shown.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(command: &mut Command, log: PathBuf) -> Self {
        let child = command.stderr(File::create(&log).unwrap()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log }
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it does within a while.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        drop(self.child.stdin.take());
        settles(|| self.child.try_wait().unwrap().is_some(), PATIENCE);
        self.child.try_wait().unwrap()
    }

    fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}:\n{}", self.log.display(), self.logged());
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A simulated host.
#[derive(Debug)]
pub(crate) struct Host {
    /// The one process that it is.
    pub(crate) process: Process,
    scratch: Scratch,
}

impl Host {
    /// Starts one and waits for its greeting.
    pub(crate) fn start() -> Self {
        let scratch = Scratch::short();
        let mut command = Self::command(scratch.path(), env!("CARGO_BIN_EXE_halcyon").as_ref());
        command
            .args(["sim", "start", "--foreground", "--while-stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = Process::start(&mut command, scratch.path().join("host.log"));
        let greeting = BufReader::new(process.child.stdout.take().unwrap());
        let greeting = greeting.lines().next().expect("a greeting").unwrap();
        assert!(greeting.starts_with("# simulated host"), "{greeting}");
        Self { process, scratch }
    }

    fn command(dir: &Path, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .arg("--platform")
            .arg(format!("sim:{}/sim", dir.display()))
            .env_remove("HALCYON_SIM")
            .env_remove("HALCYON_LOG");
        command
    }

    /// Where xenstore is.
    pub(crate) fn store(&self) -> PathBuf {
        self.scratch.path().join("sim/xenstored.sock")
    }

    /// `halcyon sim`: what it says on stdout.
    pub(crate) fn sim(&self, args: &[&str]) -> String {
        let mut command =
            Self::command(self.scratch.path(), env!("CARGO_BIN_EXE_halcyon").as_ref());
        let output = command.arg("sim").args(args).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "sim {args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts `program` as the process that serves a domain.
    pub(crate) fn serve(&self, program: &Path, domid: &str) -> Process {
        let mut command = Self::command(self.scratch.path(), program);
        command
            .args(["vm", "--domid", domid])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let log = self.scratch.path().join(format!("vm-{domid}.log"));
        let process = Process::start(&mut command, log);
        assert!(settles(
            || process.logged().contains("serving domain"),
            PATIENCE
        ));
        process
    }

    /// Starts a process that plays the guest of a domain.
    pub(crate) fn play(&self, domid: &str, seed: u64) -> Guest {
        let mut command =
            Self::command(self.scratch.path(), env!("CARGO_BIN_EXE_halcyon").as_ref());
        command
            .args(["guest", "--orders", "--initial", "stamps", "--domid", domid])
            .args(["--seed", &seed.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let log = self.scratch.path().join(format!("guest-{domid}.log"));
        let mut process = Process::start(&mut command, log);
        let said = BufReader::new(process.child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            let mut lines = said.lines().map_while(Result::ok);
            lines.all(|line| sender.send(line).is_ok())
        });
        Guest { process, lines }
    }
}

/// A process that plays a guest.
#[derive(Debug)]
pub(crate) struct Guest {
    /// The process.
    pub(crate) process: Process,
    lines: Receiver<String>,
}

impl Guest {
    /// Gives an order: a word, or an object with one word.
    pub(crate) fn order(&mut self, order: &Value) {
        let mut input = self.process.child.stdin.as_ref().unwrap();
        writeln!(input, "{order}").unwrap();
    }

    /// Waits until it says this word, and returns what it says about it.
    pub(crate) fn says(&mut self, word: &str) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|error| panic!("waiting for {word}: {error}"));
            let line: Value = serde_json::from_str(&line).unwrap();
            let said = &line["said"];
            assert!(said.get("failed").is_none(), "{line}");
            match said.get(word) {
                Some(about) => return about.clone(),
                None if said == word => return Value::Null,
                None => {}
            }
        }
    }
}
