//! A simulated host for a test, and the `halcyon` binary run on it.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The binary under test, with an environment that names no host.
pub(crate) fn halcyon(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_halcyon"));
    command
        .args(args)
        .env_remove("HALCYON_SIM")
        .env_remove("HALCYON_LOG")
        .stdin(Stdio::null());
    command
}

/// What a command said and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// Exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

/// Runs a command to its end.
pub(crate) fn said(command: &mut Command) -> Said {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said {
        code: status.code().unwrap(),
        out: text(stdout),
        err: text(stderr),
    }
}

/// A failure with this code and this one line.
pub(crate) fn refused(code: i32, line: &str) -> Said {
    Said {
        code,
        out: String::new(),
        err: format!("halcyon: {line}\n"),
    }
}

/// A directory of a test's own, removed with it; its name is short, for sockets lie below it.
pub(crate) struct Dir(PathBuf);

impl Dir {
    /// A new one.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let base = std::env::temp_dir().canonicalize().unwrap();
        let dir = base.join(format!("halcyon-t{}-{number}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A file in it, of so many bytes that are not zero.
    pub(crate) fn file(&self, name: &str, len_bytes: usize) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, vec![0x5A; len_bytes]).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A simulated host that ends with the test.
pub(crate) struct Host {
    child: Child,
    /// For images; the host lives in `sim` below it.
    pub(crate) dir: Dir,
}

impl Host {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let dir = Dir::new();
        let place = format!("sim:{}/sim", dir.path().display());
        let mut child = halcyon(&["--platform", &place, "sim", "start", "--foreground"])
            .arg("--while-stdin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        assert!(
            out.lines()
                .next()
                .unwrap()
                .unwrap()
                .starts_with("# simulated host")
        );
        Self { child, dir }
    }

    /// `--platform` for it.
    pub(crate) fn place(&self) -> String {
        format!("sim:{}/sim", self.dir.path().display())
    }

    /// A command on it.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = halcyon(&["--platform", &self.place()]);
        command.args(args);
        command
    }

    /// Kills it.
    pub(crate) fn crash(&mut self) {
        self.child.kill().unwrap();
    }

    /// Runs a command on it.
    pub(crate) fn said(&self, args: &[&str]) -> Said {
        said(&mut self.command(args))
    }

    /// What the guest `g` gets when it is created with this disk.
    pub(crate) fn create(&self, disk: &str) -> Said {
        self.said(&["sim", "create", "g", "--no-guest", "--disk", disk])
    }

    /// Creates a domain without processes and returns its number.
    pub(crate) fn domain(&self) -> String {
        let made = self.said(&["sim", "create", "g", "--no-guest", "--no-vm"]);
        assert_eq!(made.code, 0, "{}", made.err);
        made.out.split(' ').next().unwrap().to_owned()
    }

    /// Starts the process that serves a domain; what it logs goes to a file.
    pub(crate) fn serve(&self, domid: &str) -> Vm {
        let log = self.dir.path().join(format!("vm-{domid}.log"));
        let child = self
            .command(&["vm", "--domid", domid])
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let vm = Vm { child, log };
        vm.has_logged("serving domain");
        vm
    }

    /// Starts a command whose log goes to this file; it ends with the host.
    pub(crate) fn logging(&self, args: &[&str], name: &str) -> Vm {
        let log = self.dir.path().join(name);
        let child = self
            .command(args)
            .stderr(File::create(&log).unwrap())
            .spawn();
        Vm {
            child: child.unwrap(),
            log,
        }
    }

    /// Starts the process that serves a domain as libxl does, with these words.
    pub(crate) fn device_model(&self, words: &[&str]) -> Vm {
        let log = self.dir.path().join("dm.log");
        let child = halcyon(words)
            .env("HALCYON_SIM", self.dir.path().join("sim"))
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Vm { child, log }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

/// A VM process under test.
pub(crate) struct Vm {
    child: Child,
    log: PathBuf,
}

impl Vm {
    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    pub(crate) fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it has logged something.
    pub(crate) fn has_logged(&self, what: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.logged().contains(what) {
            assert!(Instant::now() < until, "{what:?} not in: {}", self.logged());
            std::thread::yield_now();
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Kills it, and waits for its end.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end: the exit code.
    pub(crate) fn ended(&mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap()
    }
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: u32, name: &str) {
    let kill = "kill -s \"$0\" \"$1\"";
    let sent = Command::new("sh")
        .args(["-c", kill, name, &pid.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// A success without a word.
pub(crate) fn done() -> Said {
    Said {
        code: 0,
        out: String::new(),
        err: String::new(),
    }
}

/// Waits until something is so.
pub(crate) fn until(mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "still not so");
        std::thread::yield_now();
    }
}
