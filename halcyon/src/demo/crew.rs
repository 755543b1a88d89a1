//! The processes of a demo: the simulated host, and for each guest the process that plays it and
//! the process that serves it.
//!
//! It starts and ends them and listens to the guests; what they do is told elsewhere. Invariant:
//! none of them outlives the demo: each ends when its pipe, its host or its guest goes.

use std::fs::File;
use std::io::{BufRead as _, BufReader, PipeWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::error::{Doing as _, Failure};
use crate::guest::wire::{Line, Order, Said};

/// How long processes get to end by themselves.
const ENDING: Duration = Duration::from_secs(20);

/// Where processes come from and where they say things.
#[derive(Debug)]
pub struct Stage {
    program: PathBuf,
    platform: String,
    log: File,
    said: PipeWriter,
    lines: Receiver<Line>,
}

/// A process; killed when dropped, if it has not ended by then.
#[derive(Debug)]
pub struct Process {
    child: Child,
    who: String,
    input: Option<ChildStdin>,
}

impl Stage {
    /// A stage around the simulated host in `dir`; what the processes log goes to `log`.
    pub fn new(dir: &Path, log: &Path) -> Result<Self, Failure> {
        let program = std::env::current_exe().doing(|| "find the halcyon binary".into())?;
        let log = File::create(log).doing(|| format!("create {}", log.display()))?;
        let (reader, said) = std::io::pipe().doing(|| "create a pipe".into())?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let parsed = BufReader::new(reader).lines().map_while(Result::ok);
            for line in parsed.filter_map(|text| serde_json::from_str(&text).ok()) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            program,
            platform: format!("sim:{}", dir.display()),
            log,
            said,
            lines,
        })
    }

    /// Starts the simulated host and waits until it takes calls. It ends when its input does.
    pub fn host(&self) -> Result<Process, Failure> {
        let args = ["sim", "start", "--foreground", "--while-stdin"];
        let mut host = self.start("the simulated host", &args, Stdio::piped(), Stdio::piped())?;
        let greeting = host
            .child
            .stdout
            .take()
            .map(|out| BufReader::new(out).lines().next());
        match greeting.flatten() {
            Some(Ok(_)) => Ok(host),
            _ => Err(Failure::failed("the simulated host did not start")),
        }
    }

    /// Starts the process that serves `domid`.
    pub fn serve(&self, domid: u16) -> Result<Process, Failure> {
        let who = format!("the process that serves domain {domid}");
        let args = ["vm", "--domid", &domid.to_string()];
        self.start(&who, &args, Stdio::null(), Stdio::null())
    }

    /// Starts the process that plays the guest of `domid`. It ends when its input does.
    pub fn play(&self, domid: u16, args: &[&str]) -> Result<Process, Failure> {
        let number = domid.to_string();
        let all = [&["guest", "--orders", "--domid", &number], args].concat();
        let said = self.said.try_clone().doing(|| "duplicate a pipe".into())?;
        self.start(
            &format!("the guest of domain {domid}"),
            &all,
            Stdio::piped(),
            said.into(),
        )
    }

    /// The next thing that any guest says, or `None` when `until` has passed.
    pub fn said(&self, until: Instant) -> Option<Line> {
        self.lines
            .recv_timeout(until.saturating_duration_since(Instant::now()))
            .ok()
    }

    /// Waits until `count` guests have said something that `take` accepts. A guest that failed is a
    /// failure; whatever else is said goes to `take` too, and is passed over if it says no.
    pub fn all_said<T>(
        &self,
        count: usize,
        within: Duration,
        what: &str,
        mut take: impl FnMut(Line) -> Option<T>,
    ) -> Result<Vec<T>, Failure> {
        let until = Instant::now() + within;
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            let missing = count - taken.len();
            let line = self.said(until).ok_or_else(|| {
                let seconds = within.as_secs();
                Failure::failed(format!(
                    "{missing} of {count} guests: not {what} in {seconds} s"
                ))
            })?;
            if let Said::Failed(text) = line.said {
                return Err(Failure::failed(format!(
                    "guest of domain {}: {text}",
                    line.domid
                )));
            }
            taken.extend(take(line));
        }
        Ok(taken)
    }

    fn start(
        &self,
        who: &str,
        args: &[&str],
        input: Stdio,
        out: Stdio,
    ) -> Result<Process, Failure> {
        let log = self
            .log
            .try_clone()
            .doing(|| "duplicate the log file".into())?;
        let mut child = Command::new(&self.program)
            .args(["--platform", &self.platform])
            .args(args)
            .stdin(input)
            .stdout(out)
            .stderr(log)
            .spawn()
            .doing(|| format!("start {who}"))?;
        let input = child.stdin.take();
        Ok(Process {
            child,
            who: who.to_owned(),
            input,
        })
    }
}

impl Process {
    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells a guest to do something.
    pub fn order(&mut self, order: &Order) -> Result<(), Failure> {
        let what = || format!("give an order to {}", self.who);
        let mut line = serde_json::to_vec(order).doing(what)?;
        line.push(b'\n');
        match &mut self.input {
            Some(input) => input
                .write_all(&line)
                .doing(|| format!("give an order to {}", self.who)),
            None => Err(Failure::failed(format!("{}: it has no input", what()))),
        }
    }

    /// Closes its input.
    pub fn hang_up(&mut self) {
        drop(self.input.take());
    }

    /// Waits for it to end by itself; ending badly, or not at all, is a failure.
    pub fn ended(&mut self) -> Result<(), Failure> {
        self.hang_up();
        let who = self.who.clone();
        let until = Instant::now() + ENDING;
        loop {
            match self.child.try_wait().doing(|| format!("wait for {who}"))? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(Failure::failed(format!("{who} ended with {status}"))),
                None if Instant::now() > until => {
                    return Err(Failure::failed(format!(
                        "{who} ({}) does not end",
                        self.pid()
                    )));
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.hang_up();
        if let Ok(None) = self.child.try_wait() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
