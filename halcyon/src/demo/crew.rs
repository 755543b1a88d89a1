//! The processes of a demo: the simulated host, and for each guest the process that plays it and
//! the process that serves it.
//!
//! It starts and ends them and listens to the guests; what they do is told elsewhere. Invariant:
//! none of them outlives the demo: each ends when its pipe, its host or its guest goes.

use std::fs::File;
use std::io::{BufRead as _, BufReader, PipeWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::error::{Doing as _, Failure};
use crate::guest::wire::{Line, Order, Said};

/// How long anything but a load may take before the demo gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long processes get to end by themselves.
const ENDING: Duration = Duration::from_secs(15);

/// The simulated host's process; it ends when its standard input does.
#[derive(Debug)]
pub struct Host {
    child: Child,
}

/// One guest and the process that serves it.
#[derive(Debug)]
pub struct Pair {
    /// The guest's domain.
    pub domid: u16,
    /// Its UUID.
    pub uuid: String,
    /// Serves it.
    pub vm: Child,
    /// Plays it.
    pub guest: Child,
    orders: Option<ChildStdin>,
}

/// Where processes come from and where they say things.
pub struct Stage {
    program: PathBuf,
    platform: String,
    log: File,
    said: PipeWriter,
    lines: Receiver<Line>,
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
        Ok(Self { program, platform: format!("sim:{}", dir.display()), log, said, lines })
    }

    /// Starts the simulated host and waits until it takes calls.
    pub fn host(&self) -> Result<Host, Failure> {
        let mut child = self
            .command(&["sim", "start", "--foreground", "--while-stdin"])?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .doing(|| "start the simulated host".into())?;
        let out = child.stdout.take().map(BufReader::new);
        let first = out.and_then(|out| out.lines().next()).and_then(Result::ok);
        first.map(|_| Host { child }).ok_or_else(|| {
            Failure::failed("the simulated host did not start; its log says why")
        })
    }

    /// Starts the process that serves `domid` and the one that plays it.
    pub fn pair(&self, domid: u16, uuid: String, guest: &[String]) -> Result<Pair, Failure> {
        let number = domid.to_string();
        let vm = self
            .command(&["vm", "--domid", &number])?
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .doing(|| format!("start the process that serves domain {domid}"))?;
        let said = self.said.try_clone().doing(|| "duplicate a pipe".into())?;
        let mut player = self
            .command(&["guest", "--orders", "--domid", &number])?
            .args(guest)
            .stdin(Stdio::piped())
            .stdout(said)
            .spawn()
            .doing(|| format!("start the guest of domain {domid}"))?;
        let orders = player.stdin.take();
        Ok(Pair { domid, uuid, vm, guest: player, orders })
    }

    /// The next thing that any guest says, or `None` when `until` has passed.
    pub fn said(&self, until: Instant) -> Option<Line> {
        match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Waits until every one of `pairs` has said something that `take` accepts; what it does not
    /// accept but a failure is passed over.
    pub fn all_said<T>(
        &self,
        pairs: &[Pair],
        within: Duration,
        what: &str,
        mut take: impl FnMut(&Line) -> Option<T>,
    ) -> Result<Vec<T>, Failure> {
        let until = Instant::now() + within;
        let mut taken = Vec::new();
        while taken.len() < pairs.len() {
            let Some(line) = self.said(until) else {
                let missing = pairs.len() - taken.len();
                let total = pairs.len();
                let text = format!("{missing} of {total} guests did not say {what} in time");
                return Err(Failure::failed(text));
            };
            if let Said::Failed(text) = &line.said {
                return Err(Failure::failed(format!("guest of domain {}: {text}", line.domid)));
            }
            taken.extend(take(&line));
        }
        Ok(taken)
    }

    fn command(&self, args: &[&str]) -> Result<Command, Failure> {
        let log = self.log.try_clone().doing(|| "duplicate the log file".into())?;
        let mut command = Command::new(&self.program);
        command.args(["--platform", &self.platform]).args(args).stderr(log);
        Ok(command)
    }
}

impl Host {
    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it.
    pub fn end(mut self) -> Result<(), Failure> {
        drop(self.child.stdin.take());
        ended(&mut self.child, "the simulated host")
    }
}

impl Pair {
    /// Tells the guest to do something.
    pub fn order(&mut self, order: &Order) -> Result<(), Failure> {
        let domid = self.domid;
        let what = || format!("give an order to the guest of domain {domid}");
        let mut line = serde_json::to_vec(order).doing(what)?;
        line.push(b'\n');
        match &mut self.orders {
            Some(orders) => orders.write_all(&line).doing(what),
            None => Err(Failure::failed(format!("{}: it has ended", what()))),
        }
    }

    /// Lets the guest end, as a shutdown does.
    pub fn shut_down(&mut self) -> Result<(), Failure> {
        drop(self.orders.take());
        ended(&mut self.guest, "a guest")
    }

    /// Waits until the process that serves it has ended, well.
    pub fn served(&mut self) -> Result<(), Failure> {
        ended(&mut self.vm, "the process that serves a guest")
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        end_now(&mut self.guest);
        end_now(&mut self.vm);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        end_now(&mut self.child);
    }
}

/// Waits for a process to end by itself; ending badly, or not at all, is a failure.
fn ended(child: &mut Child, who: &str) -> Result<(), Failure> {
    let until = Instant::now() + ENDING;
    loop {
        match child.try_wait().doing(|| format!("wait for {who}"))? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(Failure::failed(format!("{who} ended with {status}"))),
            None if Instant::now() > until => {
                return Err(Failure::failed(format!("{who} (process {}) does not end", child.id())));
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn end_now(child: &mut Child) {
    if let Ok(None) = child.try_wait() {
        drop(child.kill());
        drop(child.wait());
    }
}
