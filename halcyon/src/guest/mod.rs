//! `halcyon guest`: plays a guest of a simulated host, with a driver and a verified load for each
//! of its disks.
//!
//! It sleeps in its reactor like the process that serves it. Invariant: what it reports was seen
//! through its own drivers, or is the failure that ended it.

use std::io::Write as _;
use std::path::Path;

use abi::{DomId, Port};
use reactor::live::Uring;
use reactor::{Completion, Reactor, Sleep};
use sim::front::{Kernel, Phase};
use xenstore::{Batch, BatchId, Event, Reply, Step};

use crate::cli::args::GuestArgs;
use crate::error::{Doing as _, Failure};
use disk::Disk;
use machine::Machine;
use orders::Orders;
use wire::{Line, Load, Order, Pattern, Ran, Said};

mod discovery;
pub mod disk;
pub mod machine;
pub mod orders;
pub mod wire;

/// The directory of a guest's disks, relative to its home.
const DISKS: &str = "device/vbd";
/// The token of the watch on it; drivers' tokens are their directories.
const TOKEN_DISKS: &str = "disks";
/// How often progress is told, at most.
const PROGRESS_NS: u64 = 250_000_000;

/// What the guest is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    Connect,
    Run,
    Close,
    Nothing,
}

struct Player {
    args: GuestArgs,
    machine: Machine,
    disks: Vec<Disk>,
    /// The numbers in the last listing.
    listed: Vec<u32>,
    listing: Option<BatchId>,
    looking: Vec<(BatchId, u32)>,
    goal: Goal,
    told_ns: u64,
    ended: bool,
}

/// Plays the guest until its standard input or its domain ends.
pub fn run(dir: &Path, args: GuestArgs) -> Result<(), Failure> {
    let domid = args.domid;
    play(dir, args).inspect_err(|failure| {
        // The one who started us listens on stdout.
        drop(say(domid, Said::Failed(failure.to_string())));
    })
}

fn play(dir: &Path, args: GuestArgs) -> Result<(), Failure> {
    let (machine, mut reactor) = Machine::boot(dir, DomId(args.domid), args.seed)?;
    let mut orders = args
        .orders
        .then(|| Orders::listen(&mut reactor))
        .transpose()?;
    let mut player = Player {
        args,
        machine,
        disks: Vec::new(),
        listed: Vec::new(),
        listing: None,
        looking: Vec::new(),
        goal: Goal::Connect,
        told_ns: 0,
        ended: false,
    };
    player.watch()?;
    let mut completions = Vec::new();
    while !player.ended {
        player.machine.send(&mut reactor);
        reactor.wait(Sleep::UntilWork, &mut completions);
        for completion in completions.drain(..) {
            player.complete(&mut reactor, orders.as_mut(), completion)?;
        }
        player.store_events()?;
        player.step(reactor.now())?;
    }
    Ok(())
}

impl Player {
    fn watch(&mut self) -> Result<(), Failure> {
        let path = xenstore::Path::new(DISKS).doing(|| "watch the disks".into())?;
        let watch = Step::Watch {
            path,
            token: TOKEN_DISKS.into(),
        };
        self.machine.store().submit(Batch::new(vec![watch]));
        Ok(())
    }

    fn complete(
        &mut self,
        reactor: &mut Uring,
        orders: Option<&mut Orders>,
        completion: Completion,
    ) -> Result<(), Failure> {
        if completion.token.owner == orders::OWNER {
            let given = orders
                .map(|orders| orders.complete(reactor, completion))
                .transpose()?;
            return match given.flatten() {
                Some(orders) => orders.into_iter().try_for_each(|order| self.obey(order)),
                None => {
                    self.ended = true;
                    Ok(())
                }
            };
        }
        match self.machine.complete(reactor, completion) {
            Ok(ports) => ports.into_iter().for_each(|port| self.kicked(port)),
            // The domain was destroyed, or its host stopped.
            Err(ended) => {
                tracing::info!("{ended}");
                self.ended = true;
            }
        }
        Ok(())
    }

    fn kicked(&mut self, port: Port) {
        if let Some(disk) = self
            .disks
            .iter_mut()
            .find(|disk| disk.front.port() == Some(port))
        {
            disk.front.kicked(&mut self.machine.kernel());
        }
    }

    fn obey(&mut self, order: Order) -> Result<(), Failure> {
        match order {
            Order::Run(load) => self.begin(&load),
            Order::Dump { path } => {
                let one = self
                    .disks
                    .first()
                    .ok_or_else(|| Failure::failed("no disk to dump"))?;
                one.dump(&path)?;
                self.say(Said::Dumped)
            }
            Order::Close => {
                self.goal = Goal::Close;
                self.each(|disk, kernel| disk.front.close(kernel));
                Ok(())
            }
            Order::Connect => {
                self.goal = Goal::Connect;
                self.each(|disk, kernel| disk.front.reconnect(kernel));
                Ok(())
            }
        }
    }

    fn begin(&mut self, load: &Load) -> Result<(), Failure> {
        self.goal = Goal::Run;
        self.disks
            .iter_mut()
            .try_for_each(|disk| disk.begin(load.plan()))
    }

    fn each(&mut self, mut call: impl FnMut(&mut Disk, &mut Kernel<'_>)) {
        for disk in &mut self.disks {
            call(disk, &mut self.machine.kernel());
        }
    }

    fn store_events(&mut self) -> Result<(), Failure> {
        while let Some(event) = self.machine.store().next_event() {
            match event {
                Event::Watch { token, .. } if token == TOKEN_DISKS => self.list()?,
                Event::Replies { batch, replies } if self.listing == Some(batch) => {
                    self.listing = None;
                    if let Some(Ok(Reply::Names(names))) = replies.into_iter().next() {
                        self.listed(&names)?;
                    }
                }
                Event::Replies { batch, replies }
                    if self.looking.iter().any(|(asked, _)| *asked == batch) =>
                {
                    self.looked(batch, replies)?;
                }
                event => self.each(|disk, kernel| {
                    disk.front.store_event(kernel, &event);
                }),
            }
        }
        Ok(())
    }

    /// Goes on with the loads, and says what has been reached.
    fn step(&mut self, now_ns: u64) -> Result<(), Failure> {
        self.forget_gone();
        for disk in &mut self.disks {
            disk.step(&mut self.machine.kernel(), now_ns)?;
        }
        self.doubt()?;
        match self.goal {
            Goal::Connect if self.all_in(&Phase::Connected) => self.connected(),
            Goal::Run if self.disks.iter().all(Disk::is_idle) => self.ran(),
            Goal::Run if now_ns >= self.told_ns + PROGRESS_NS && self.args.orders => {
                self.told_ns = now_ns;
                let requests = self.disks.iter().map(Disk::answered).sum();
                self.say(Said::Progress { requests })
            }
            Goal::Close if self.all_in(&Phase::Down) => {
                self.goal = Goal::Nothing;
                self.say(Said::Closed {
                    grants_in_use: self.machine.lent() as u64,
                })
            }
            _ => Ok(()),
        }
    }

    fn all_in(&self, phase: &Phase) -> bool {
        !self.disks.is_empty() && self.disks.iter().all(|disk| disk.is_in(phase))
    }

    fn connected(&mut self) -> Result<(), Failure> {
        self.goal = Goal::Nothing;
        let properties = self.disks.iter().filter_map(|disk| disk.front.properties());
        let sectors = properties.map(|disk| disk.sectors.0).collect();
        self.say(Said::Connected { sectors })?;
        match std::mem::take(&mut self.args.requests) {
            0 => Ok(()),
            requests => self.begin(&Load {
                pattern: Pattern::Mixed,
                seed: self.args.seed,
                depth: 32,
                requests,
                seconds: 0,
                write: true,
            }),
        }
    }

    fn ran(&mut self) -> Result<(), Failure> {
        self.goal = Goal::Nothing;
        let mut ran = Ran::default();
        self.disks.iter().for_each(|disk| disk.report(&mut ran));
        self.say(Said::Ran(ran))
    }

    fn say(&self, said: Said) -> Result<(), Failure> {
        say(self.args.domid, said)
    }
}

/// One line, in one write.
fn say(domid: u16, said: Said) -> Result<(), Failure> {
    let what = || "report".to_owned();
    let mut line = serde_json::to_vec(&Line { domid, said }).doing(what)?;
    line.push(b'\n');
    std::io::stdout().lock().write_all(&line).doing(what)
}
