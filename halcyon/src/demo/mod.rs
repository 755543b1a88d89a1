//! `halcyon demo`: the whole path on this machine, measured and verified.
//!
//! A script over [`show::Show`]: it says what happens in which order and collects what was found.
//! Invariant: everything that was not as it must be ends up in the report's faults, and a report
//! with faults is a failure.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::cli::args::DemoArgs;
use crate::error::{Doing as _, Exit, Failure};
use crate::guest::wire::{self, Line, Order, Ran, Said};
use crate::proc::memory;
use crate::report::{Report, table};
use crate::simctl::diskspec::DiskSpec;
use progress::Progress;
use scale::Scale;
use show::{Player, Show, since_ms};

pub mod cleanup;
pub mod crew;
pub mod leaks;
pub mod meter;
pub mod progress;
pub mod reader;
pub mod scale;
pub mod scratch;
pub mod show;

/// How long a load may take beyond its own time before the demo gives up on it.
const LOAD_PATIENCE: Duration = Duration::from_secs(300);
/// From the last answer to a process at rest: the cool-down of at most two seconds, and some.
const COOLING: Duration = Duration::from_millis(2500);
/// How long closing or dumping may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the demo and prints what it found.
pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    let progress = Progress::new(args.json);
    let mut show = Show::new(args)?;
    let performed = Script {
        args,
        scale: Scale::of(args),
        progress: &progress,
        show: &mut show,
    }
    .perform();
    progress.end();
    if !performed.as_ref().is_ok_and(Report::is_good) {
        eprint!("{}", show.last_words());
    }
    let report = performed?;
    show.close()?;
    if args.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&report).doing(|| "write JSON".into())?
        );
    } else {
        print!("{}", table::render(&report));
    }
    match report.faults.first() {
        None => Ok(()),
        Some(first) => Err(Failure::new(
            Exit::Unverified,
            format!("{} faults, the first: {first}", report.faults.len()),
        )),
    }
}

struct Script<'a> {
    args: &'a DemoArgs,
    scale: Scale,
    progress: &'a Progress,
    show: &'a mut Show,
}

impl Script<'_> {
    fn perform(&mut self) -> Result<Report, Failure> {
        let mut report = Report {
            host: host_line(),
            disk: self.disk_line(),
            seed: self.args.seed,
            vms: self.scale.vms,
            ..Report::default()
        };
        let available_kib = self.start(&mut report)?;
        for (name, load) in self.scale.loads.clone() {
            self.load(name, &load, &mut report)?;
        }
        self.idle(&mut report)?;
        report.memory = self.show.subjects().memory(available_kib)?;
        let again = self.scale.again.clone();
        self.load("mixed, after idleness", &again, &mut report)?;
        if self.scale.reboot {
            self.reconnect(&mut report)?;
            self.load("mixed, after reconnect", &again, &mut report)?;
            self.reboot(&mut report)?;
            self.load("mixed, after reboot", &again, &mut report)?;
        }
        self.tear_down(&mut report)?;
        Ok(report)
    }

    /// Images, then guests; what was available in memory between the two.
    fn start(&mut self, report: &mut Report) -> Result<u64, Failure> {
        let vms = u64::from(self.scale.vms);
        self.progress.step("writing scratch images", vms);
        let images = self
            .show
            .images(self.args, &self.scale, |done| self.progress.at(done))?;
        let available_kib = memory::available_kib().doing(|| "read /proc/meminfo".into())?;
        self.progress.step("starting guests", vms);
        let start = Instant::now();
        for (index, image) in (0..).zip(&images) {
            self.show
                .add(index, image, self.args, self.scale.memory_bytes)?;
            self.progress.at(index);
        }
        self.show.connected(images.len())?;
        report.start_seconds = start.elapsed().as_secs_f64();
        Ok(available_kib)
    }

    fn load(&mut self, name: &str, load: &wire::Load, report: &mut Report) -> Result<(), Failure> {
        let guests = self.show.players.len();
        self.progress
            .step(name, load.requests.saturating_mul(guests as u64));
        let subjects = self.show.subjects();
        let before = subjects.read()?;
        let start = Instant::now();
        self.order(&Order::Run(load.clone()))?;
        let patience = LOAD_PATIENCE + Duration::from_secs(load.seconds);
        let mut answered = std::collections::BTreeMap::new();
        let ran = self
            .show
            .stage
            .all_said(guests, patience, "done with their load", |line| {
                let Line { domid, said } = line;
                match said {
                    Said::Progress { requests } => {
                        answered.insert(domid, requests);
                        self.progress.at(answered.values().sum());
                        None
                    }
                    Said::Ran(ran) => Some((domid, ran)),
                    _ => None,
                }
            })?;
        let (wall, after) = (start.elapsed(), subjects.read()?);
        for (domid, ran) in &ran {
            judge(name, *domid, ran, report);
        }
        let ran: Vec<Ran> = ran.into_iter().map(|(_, ran)| ran).collect();
        report
            .loads
            .push(meter::load(name, &ran, wall, &before, &after));
        Ok(())
    }

    fn idle(&mut self, report: &mut Report) -> Result<(), Failure> {
        let span = self.scale.idle;
        self.progress
            .step(&format!("idle for {} s", span.as_secs()), 1);
        std::thread::sleep(COOLING);
        let idle = self.show.subjects().idle(span)?;
        if idle.context_switches > 0 {
            let (count, seconds) = (idle.context_switches, idle.seconds);
            report.faults.push(format!(
                "{count} context switches in {seconds} s of idleness"
            ));
        }
        report.idle.push(idle);
        Ok(())
    }

    /// The guest's kernel is replaced by a new one, as kexec does: same domain, same process.
    fn reconnect(&mut self, report: &mut Report) -> Result<(), Failure> {
        self.progress.step("reconnecting", 1);
        let start = Instant::now();
        self.close_guests(report)?;
        self.order(&Order::Connect)?;
        self.show.connected(self.show.players.len())?;
        report.reconnect_ms = Some(since_ms(start));
        Ok(())
    }

    /// The guest reboots as `xl reboot` does it: its domain goes, a new one with the same UUID
    /// comes, and the new process waits for the old one's claim and image lock.
    fn reboot(&mut self, report: &mut Report) -> Result<(), Failure> {
        self.progress.step("rebooting", 1);
        self.dump_models()?;
        let mut old: Vec<Player> = std::mem::take(&mut self.show.players);
        let start = Instant::now();
        for player in &mut old {
            player.guest.ended()?;
            self.show.toolstack.destroy(&player.domain, true)?;
            let spec = DiskSpec {
                params: player.disk.params.clone(),
                vdev: Some(player.disk.dev.clone()),
                writable: player.disk.writable,
            };
            let (domain, dump) = (&player.domain, self.dump_path(player));
            let dump = dump.exists().then_some(dump);
            let (name, uuid, memory) = (&domain.name, &domain.uuid, domain.memory_bytes);
            let new = self
                .show
                .boot(name, uuid, memory, &spec, player.seed, dump.as_deref())?;
            self.show.players.push(new);
        }
        self.show.connected(old.len())?;
        report.reboot_ms = Some(since_ms(start));
        old.iter_mut().try_for_each(|player| player.vm.ended())
    }

    fn tear_down(&mut self, report: &mut Report) -> Result<(), Failure> {
        self.progress.step("taking down", u64::from(self.scale.vms));
        self.dump_models()?;
        self.close_guests(report)?;
        for player in &self.show.players {
            leaks::after_detach(&mut self.show.toolstack, player, &mut report.faults)?;
        }
        let mut players = std::mem::take(&mut self.show.players);
        for player in &mut players {
            self.show.toolstack.destroy(&player.domain, false)?;
            player.guest.ended()?;
            player.vm.ended()?;
        }
        let uuids: Vec<String> = players
            .iter()
            .map(|player| player.domain.uuid.clone())
            .collect();
        leaks::after_all(self.show, &uuids, &mut report.faults)?;
        players
            .iter()
            .try_for_each(|player| self.read_back(player, report))
    }

    /// Compares the image with what the guest says it wrote.
    fn read_back(&self, player: &Player, report: &mut Report) -> Result<(), Failure> {
        let dump = self.dump_path(player);
        if !dump.exists() {
            return Ok(());
        }
        let seed = crate::guest::disk::content_seed(player.seed, player.disk.devid);
        let found = reader::compare(&player.image, &dump, seed, self.show.stamped)?;
        report.verified.by_reader_bytes += found.bytes;
        report.verified.mismatched_sectors += found.mismatched_sectors;
        if found.mismatched_sectors > 0 {
            let (count, image) = (found.mismatched_sectors, player.image.display());
            report
                .faults
                .push(format!("{image}: {count} sectors are not what was written"));
        }
        Ok(())
    }

    /// Every guest writes down what its disk must hold; a disk that is only read needs no model.
    fn dump_models(&mut self) -> Result<(), Failure> {
        let dumps: Vec<_> = self
            .show
            .players
            .iter()
            .map(|player| self.dump_path(player))
            .collect();
        let mut count = 0;
        for (player, path) in self.show.players.iter_mut().zip(dumps) {
            if player.disk.writable {
                player.guest.order(&Order::Dump { path })?;
                count += 1;
            }
        }
        let dumped = |line: Line| (line.said == Said::Dumped).then_some(());
        self.show
            .stage
            .all_said(count, PATIENCE, "done with their dump", dumped)
            .map(drop)
    }

    fn close_guests(&mut self, report: &mut Report) -> Result<(), Failure> {
        self.order(&Order::Close)?;
        let closed = |line: Line| match line.said {
            Said::Closed { grants_in_use } => Some((line.domid, grants_in_use)),
            _ => None,
        };
        let guests = self.show.players.len();
        for (domid, grants) in self
            .show
            .stage
            .all_said(guests, PATIENCE, "closed", closed)?
        {
            if grants > 0 {
                report
                    .faults
                    .push(format!("domain {domid}: {grants} grants leaked"));
            }
        }
        Ok(())
    }

    fn order(&mut self, order: &Order) -> Result<(), Failure> {
        self.show
            .players
            .iter_mut()
            .try_for_each(|player| player.guest.order(order))
    }

    fn dump_path(&self, player: &Player) -> std::path::PathBuf {
        self.show
            .scratch
            .path()
            .join(format!("{}.model", player.domain.uuid))
    }

    fn disk_line(&self) -> String {
        match &self.args.disk {
            Some(path) if self.args.write => format!("{}, written to", path.display()),
            Some(path) => format!("{}, only read", path.display()),
            None => format!(
                "{} MiB scratch images below {}",
                self.scale.disk_bytes >> 20,
                self.show
                    .scratch
                    .path()
                    .parent()
                    .unwrap_or(Path::new("/"))
                    .display()
            ),
        }
    }
}

/// Everything about a load that must not be.
fn judge(name: &str, domid: u16, ran: &Ran, report: &mut Report) {
    report.verified.by_guests_bytes += ran.verified_bytes;
    report.verified.mismatched_sectors += ran.mismatched_sectors;
    let wrongs = [
        (
            ran.mismatched_sectors,
            "sectors read are not what was written",
        ),
        (ran.failed, "requests failed"),
        (ran.violations, "violations of the protocol by the backend"),
    ];
    for (count, what) in wrongs {
        if count > 0 {
            report
                .faults
                .push(format!("domain {domid}, {name}: {count} {what}"));
        }
    }
}

/// Which machine this is.
fn host_line() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let release = read("/proc/sys/kernel/osrelease");
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("", |rest| rest.trim_start_matches(['\t', ' ', ':']));
    format!("Linux {}, {cpus} processors {model}", release.trim())
}
