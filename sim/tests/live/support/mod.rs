//! Real processes for the tests of the live form: the test binary started again in another part.
//!
//! A part is told what to do on its standard input, one JSON line each, and answers on its
//! standard output. Invariant: a child dies with the value that stands for it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use libtest_mimic::Trial;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sim::live::host::Host;
use sim::live::{Control, NewDomain};

pub(crate) mod backend;
pub(crate) mod guest;

/// First argument of a binary that shall play a part; the part follows.
const PART: &str = "--part";

/// Memory of a test's guests: 16 MiB, as the smallest that the demo runs.
pub(crate) const MEMORY_BYTES: u64 = 16 << 20;

/// A claim about a host, and its name.
pub(crate) type Claim = (&'static str, fn(&LiveHost));

/// Claims by the names of their functions.
macro_rules! claims {
    ($($name:ident),* $(,)?) => {
        &[$((stringify!($name), $name as fn(&$crate::support::LiveHost))),*]
    };
}
pub(crate) use claims;

/// One trial for each claim, with a host of its own.
pub(crate) fn trials(subject: &str, claims: &[Claim]) -> Vec<Trial> {
    let trial = |&(name, check): &Claim| {
        Trial::test(format!("{subject}::{name}"), move || {
            check(&LiveHost::start());
            Ok(())
        })
    };
    claims.iter().map(trial).collect()
}

/// Plays a part if the command line asks for one; the binary's `main` then has nothing to do.
pub(crate) fn plays_a_part() -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((PART, rest)) = arguments
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest))
    else {
        return false;
    };
    match rest {
        [part, dir] if part == "host" => host(Path::new(dir)),
        [part, dir, domid] if part == "guest" => guest::serve(Path::new(dir), number(domid)),
        [part, dir, domid] if part == "backend" => backend::serve(Path::new(dir), number(domid)),
        _ => panic!("no such part: {rest:?}"),
    }
    true
}

fn number(text: &str) -> abi::DomId {
    abi::DomId(text.parse().expect("a domain number"))
}

fn host(dir: &Path) {
    let mut host = Host::bind(dir, |line| eprintln!("host: {line}")).expect("binding");
    answer(&());
    host.run().expect("running");
}

/// Reads commands until the input ends, and answers each.
pub(crate) fn serve_lines<C: DeserializeOwned, A: Serialize>(mut carry_out: impl FnMut(C) -> A) {
    for line in std::io::stdin().lock().lines() {
        let command = serde_json::from_str(&line.expect("a line")).expect("a command");
        answer(&carry_out(command));
    }
}

fn answer<A: Serialize>(answer: &A) {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, answer).expect("writing");
    out.write_all(b"\n").expect("writing");
    out.flush().expect("writing");
}

/// A child that plays a part.
#[derive(Debug)]
pub(crate) struct Part {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Part {
    /// Starts this binary again as `part`.
    pub(crate) fn start(part: &str, dir: &Path, more: &[String]) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.arg(PART).arg(part).arg(dir).args(more);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("starting");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self {
            child,
            input,
            output,
        }
    }

    /// Sends a command and waits for the answer.
    pub(crate) fn ask<C: Serialize, A: DeserializeOwned>(&mut self, command: &C) -> A {
        let mut line = serde_json::to_vec(command).expect("serialising");
        line.push(b'\n');
        self.input.write_all(&line).expect("the part is there");
        self.hear()
    }

    /// Waits for an answer.
    pub(crate) fn hear<A: DeserializeOwned>(&mut self) -> A {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the part is there");
        serde_json::from_str(&line).expect("an answer")
    }

    /// Kills the process, and returns when it has died: its descriptors are closed by then.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("killing a child");
        self.child.wait().expect("waiting for a child");
    }

    /// Its process number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A host in a process and a directory of its own.
#[derive(Debug)]
pub(crate) struct LiveHost {
    part: Part,
    dir: PathBuf,
}

impl LiveHost {
    /// Starts one; it listens when this returns.
    pub(crate) fn start() -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let name = format!("halcyon-sim-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir).expect("a fresh directory");
        let mut part = Part::start("host", &dir, &[]);
        let () = part.hear();
        Self { part, dir }
    }

    /// Where it listens.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the kernel says of its process.
    pub(crate) fn status(&self) -> String {
        let path = format!("/proc/{}/status", self.part.pid());
        std::fs::read_to_string(path).expect("its status")
    }

    /// A toolstack's connection.
    pub(crate) fn control(&self) -> Control {
        Control::connect(&self.dir).expect("connecting")
    }

    /// A new domain without a guest.
    pub(crate) fn create(&self) -> abi::DomId {
        let domain = NewDomain {
            name: "test".to_owned(),
            uuid: "00000000-0000-0000-0000-000000000000".to_owned(),
            memory_bytes: MEMORY_BYTES,
        };
        self.control().create(&domain).expect("creating a domain")
    }

    /// Descriptors that it has open.
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.part.pid()))
            .expect("its descriptors")
            .count()
    }
}

impl Drop for LiveHost {
    fn drop(&mut self) {
        self.part.kill();
        std::fs::remove_dir_all(&self.dir).expect("removing an own directory");
    }
}
