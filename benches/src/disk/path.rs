//! The way through a guest's disk: the simulated host, VM process and guest process of
//! `halcyon demo`, with one guest.
//!
//! It has the guest run loads, and reads from outside what the VM process cost. Invariant: none of
//! the processes, and no scratch image, outlives it.

use std::path::Path;
use std::time::{Duration, Instant};

use halcyon::cli::args::DemoArgs;
use halcyon::demo::meter;
use halcyon::demo::scale::Scale;
use halcyon::demo::show::{Player, Show};
use halcyon::error::{Doing as _, Exit, Failure};
use halcyon::guest::wire::{self, Order, Ran, Said};
use halcyon::proc;
use halcyon::report::{Load, ratio};
use serde::Serialize;

use super::{DiskArgs, Run};
use crate::place;

/// Size of a scratch image: more than the caches of a disk are likely to hold.
const IMAGE_BYTES: u64 = 2 << 30;

/// Guest memory: a full ring takes 128 KiB of its pages.
const GUEST_BYTES: u64 = 32 << 20;

/// Seed of the content of a scratch image.
const SEED: u64 = 1;

/// How long a run may take beyond its own time.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one run through the guest's disk gave.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Ours {
    /// What `halcyon demo` reports too.
    #[serde(flatten)]
    pub load: Load,
    /// Of every task of the VM process, wanted or not.
    pub context_switches_per_request: f64,
    /// Processor time of the guest process: its driver, and the check of what it read.
    pub guest_cpu_us_per_request: f64,
}

/// What is read from outside before and after a run.
struct Reading {
    costs: meter::Reading,
    switches: proc::Switches,
    guest_cpu_ns: u64,
}

/// See the head of this file.
#[derive(Debug)]
pub struct DemoPath {
    show: Show,
}

impl DemoPath {
    /// Starts it all; the guest's disk is connected.
    pub fn start(args: &DiskArgs) -> Result<Self, Failure> {
        let demo = DemoArgs {
            disk: args.disk.clone(),
            write: args.write,
            vms: 1,
            requests: None,
            seed: SEED,
            json: args.json,
        };
        let scale = Scale {
            disk_bytes: IMAGE_BYTES,
            ..Scale::of(&demo)
        };
        let mut show = Show::new(&demo)?;
        if args.disk.is_some() {
            // Looking up what every block must hold would be I/O on the disk that is measured.
            show.guest_args = vec!["--initial", "unknown"];
        }
        let started = show.images(&demo, &scale, |_| {}).and_then(|images| {
            images
                .iter()
                .try_for_each(|image| show.add(0, image, &demo, GUEST_BYTES))?;
            show.connected(1)
        });
        match started {
            Ok(()) => Ok(Self { show }),
            Err(failure) => Err(explained(&show, &failure)),
        }
    }

    /// The image.
    pub fn image(&self) -> &Path {
        self.show
            .players
            .first()
            .map_or(Path::new(""), |player| &player.image)
    }

    /// One run; `seed` decides the requests.
    pub fn run(&mut self, run: &Run, seed: u32) -> Result<Ours, Failure> {
        let load = self.load(run, seed);
        load.map_err(|failure| explained(&self.show, &failure))
    }

    fn load(&mut self, run: &Run, seed: u32) -> Result<Ours, Failure> {
        let order = Order::Run(wire::Load {
            pattern: run.pattern,
            seed: seed.into(),
            depth: run.depth,
            requests: 1,
            seconds: run.seconds,
            write: run.writes(),
        });
        self.show
            .players
            .iter()
            .try_for_each(|player| place(player, run))?;
        let before = self.read()?;
        let start = Instant::now();
        self.show
            .players
            .iter_mut()
            .try_for_each(|player| player.guest.order(&order))?;
        let within = PATIENCE + Duration::from_secs(run.seconds);
        let done =
            self.show
                .stage
                .all_said(1, within, "done with their load", |line| match line.said {
                    Said::Ran(ran) => Some(ran),
                    _ => None,
                })?;
        let (wall, after) = (start.elapsed(), self.read()?);
        verified(&done)?;
        let load = meter::load("", &done, wall, &before.costs, &after.costs);
        let per_request = |count: u64| ratio(count, load.requests as f64);
        Ok(Ours {
            context_switches_per_request: per_request(after.switches.since(&before.switches)),
            guest_cpu_us_per_request: per_request(after.guest_cpu_ns - before.guest_cpu_ns) / 1e3,
            load,
        })
    }

    fn read(&self) -> Result<Reading, Failure> {
        let [player] = self.show.players.as_slice() else {
            return Err(Failure::failed("the guest is gone"));
        };
        let (vm, guest) = (player.vm.pid(), player.guest.pid());
        Ok(Reading {
            costs: self.show.subjects().read()?,
            switches: proc::switches(vm).doing(|| format!("read /proc of process {vm}"))?,
            guest_cpu_ns: proc::cpu_ns(guest).doing(|| format!("read /proc of process {guest}"))?,
        })
    }

    /// Ends it all, in order.
    pub fn end(mut self) -> Result<(), Failure> {
        for player in &mut self.show.players {
            player.guest.ended()?;
            player.vm.ended()?;
        }
        self.show.players.clear();
        self.show.close()
    }
}

fn place(player: &Player, run: &Run) -> Result<(), Failure> {
    let placed = [
        (&player.vm, run.place.disk),
        (&player.guest, run.place.guest),
    ];
    for (process, cpu) in placed
        .into_iter()
        .filter_map(|(who, cpu)| Some((who, cpu?)))
    {
        let pid = process.pid();
        place::pin_process(pid, cpu).doing(|| format!("run process {pid} on processor {cpu}"))?;
    }
    Ok(())
}

/// Whether the guest got what it must.
fn verified(ran: &[Ran]) -> Result<(), Failure> {
    let sum = |of: fn(&Ran) -> u64| ran.iter().map(of).sum::<u64>();
    let failed = sum(|ran| ran.failed);
    let mismatched = sum(|ran| ran.mismatched_sectors);
    let violations = sum(|ran| ran.violations);
    if failed + mismatched + violations == 0 {
        return Ok(());
    }
    let text = format!(
        "the guest saw {failed} requests fail, {mismatched} sectors mismatch and {violations} \
         violations of the protocol"
    );
    Err(Failure::new(Exit::Unverified, text))
}

/// A failure with the last thing that the processes logged.
fn explained(show: &Show, failure: &Failure) -> Failure {
    let log = show.last_words();
    match log.lines().last() {
        Some(last) => Failure::new(failure.exit, format!("{failure} (last in the log: {last})")),
        None => Failure::new(failure.exit, failure.to_string()),
    }
}
