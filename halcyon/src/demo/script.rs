//! What happens in which order in a demo, and what each step found.
//!
//! Loads, idleness and memory are here; how guests come back and go is in `acts`. Invariant: a step
//! that found something wrong adds it to the report's faults and goes on; only what keeps the demo
//! from going on is a failure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::meter;
use super::progress::Progress;
use super::scale::Scale;
use super::show::{Player, Show};
use crate::cli::args::DemoArgs;
use crate::error::{Doing as _, Failure};
use crate::guest::wire::{self, Line, Order, Ran, Said};
use crate::proc::memory;
use crate::report::Report;

/// How long a load may take beyond its own time before the demo gives up on it.
const LOAD_PATIENCE: Duration = Duration::from_secs(300);
/// From the last answer to a process at rest: the cool-down of at most two seconds, and some.
const COOLING: Duration = Duration::from_millis(2500);

/// See the head of this file.
pub(super) struct Script<'a> {
    pub(super) args: &'a DemoArgs,
    pub(super) scale: Scale,
    pub(super) progress: &'a Progress,
    pub(super) show: &'a mut Show,
}

impl Script<'_> {
    pub(super) fn perform(&mut self) -> Result<Report, Failure> {
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
        self.reconnect(&mut report)?;
        self.load("mixed, after reconnect", &again, &mut report)?;
        self.reboot(&mut report)?;
        self.load("mixed, after reboot", &again, &mut report)?;
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
        let mut answered = BTreeMap::new();
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

    pub(super) fn order(&mut self, order: &Order) -> Result<(), Failure> {
        self.show
            .players
            .iter_mut()
            .try_for_each(|player| player.guest.order(order))
    }

    pub(super) fn dump_path(&self, player: &Player) -> PathBuf {
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
