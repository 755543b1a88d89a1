//! Worlds: guests, VM processes, disks and xenstore in one thread, in an order that a seed decides.
//!
//! `cargo test -p halcyon --test worlds` runs them all; a failure prints the command that shows
//! the same world again, step by step.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use libtest_mimic::{Arguments, Failed, Trial};
use sim::world::{Failure, Report, Tally, run};

mod bugs;
#[path = "../support/process.rs"]
mod process;

use bugs::Bug;

/// Worlds in one run; the environment may ask for more.
const SEEDS: u64 = 1_000;
/// Raises [`SEEDS`].
const SEEDS_VARIABLE: &str = "HALCYON_WORLDS";
/// Requests of a world that come to an end, at the least.
const REQUESTS_MIN: u64 = 200;
/// Threads that run worlds; what they compute does not depend on it.
const THREADS: u64 = 2;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["replay", seed] => return replay(seed, None),
        ["replay", seed, bug] => return replay(seed, Some(bug)),
        ["hash"] => {
            return match every_world() {
                Ok(sum) => {
                    println!("{}", sum.lines().join("\n"));
                    ExitCode::SUCCESS
                }
                Err(failure) => {
                    eprintln!("{}", explain(&failure, None));
                    ExitCode::FAILURE
                }
            };
        }
        _ => {}
    }
    let mut trials = vec![
        Trial::test(
            "every_world_ends_well_and_every_fault_occurs",
            every_fault_occurs,
        ),
        Trial::test("two_processes_see_the_same_worlds", two_processes_agree),
    ];
    for bug in Bug::ALL {
        let name = format!("a_bug_is_found_and_replayed::{}", bug.name());
        trials.push(Trial::test(name, move || is_found(bug)));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn world(seed: u64, bug: Option<Bug>, told: bool) -> Result<Report, Failure> {
    run(seed, &|start| process::start(start, bug), told)
}

fn seeds() -> u64 {
    let asked = std::env::var(SEEDS_VARIABLE)
        .ok()
        .and_then(|text| text.parse().ok());
    asked.unwrap_or(0).max(SEEDS)
}

/// All worlds together.
#[derive(Debug, Default)]
struct Sum {
    /// Order does not matter to it, so threads may share the work.
    hash: u64,
    /// The hash of each world, by its seed.
    hashes: BTreeMap<u64, u64>,
    tally: Tally,
    guests_min: Option<usize>,
    requests_min: Option<u64>,
}

impl Sum {
    /// One line for each world, by which two runs are compared.
    fn lines(&self) -> Vec<String> {
        let line = |(seed, hash)| format!("seed {seed} hash {hash:016x}");
        self.hashes.iter().map(line).collect()
    }

    fn add(&mut self, report: &Report) {
        let (sum, one) = (&mut self.tally, &report.tally);
        self.hash = self.hash.wrapping_add(report.hash);
        self.guests_min = Some(
            self.guests_min
                .map_or(report.guests, |min| min.min(report.guests)),
        );
        self.requests_min = Some(
            self.requests_min
                .map_or(one.requests, |min| min.min(one.requests)),
        );
        sum.requests += one.requests;
        sum.disk_errors += one.disk_errors;
        sum.short_transfers += one.short_transfers;
        sum.reordered += one.reordered;
        sum.guest_deaths += one.guest_deaths;
        sum.detaches += one.detaches;
        sum.new_kernels += one.new_kernels;
    }

    fn merge(&mut self, other: &Self) {
        let tally = other.tally;
        if let (Some(guests), Some(requests)) = (other.guests_min, other.requests_min) {
            let requests_so_far = self.requests_min.map_or(requests, |min| min.min(requests));
            self.add(&Report {
                hash: other.hash,
                tally,
                guests,
            });
            self.requests_min = Some(requests_so_far);
            self.hashes.extend(&other.hashes);
        }
    }
}

/// Every world of this process, run once however many trials ask.
fn all_worlds() -> &'static Result<Sum, Failure> {
    static ALL: OnceLock<Result<Sum, Failure>> = OnceLock::new();
    ALL.get_or_init(every_world)
}

/// Runs every world, on all threads.
fn every_world() -> Result<Sum, Failure> {
    let (count, next) = (seeds(), AtomicU64::new(0));
    let work = || {
        let mut sum = Sum::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= count {
                return Ok(sum);
            }
            let report = world(seed, None, false)?;
            sum.add(&report);
            sum.hashes.insert(seed, report.hash);
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        let mut sum = Sum::default();
        for thread in threads {
            sum.merge(
                &thread
                    .join()
                    .expect("a world that panics is a failure of its own")?,
            );
        }
        Ok(sum)
    })
}

fn every_fault_occurs() -> Result<(), Failed> {
    let sum = all_worlds()
        .as_ref()
        .map_err(|failure| explain(failure, None))?;
    let Tally {
        requests,
        disk_errors,
        short_transfers,
        reordered,
        ..
    } = sum.tally;
    let requests_min = sum.requests_min.unwrap_or(0);
    let Tally {
        guest_deaths,
        detaches,
        new_kernels,
        ..
    } = sum.tally;
    println!(
        "worlds: {} seeds, {requests} requests, {disk_errors} disk errors, {short_transfers} short \
         transfers, {reordered} reordered, {guest_deaths} guest deaths, {detaches} detaches in \
         the middle of I/O, {new_kernels} new kernels",
        seeds()
    );
    println!("worlds: {} seeds hash {:016x}", seeds(), sum.hash);
    println!("worlds: at least {requests_min} requests in each");
    assert!(sum.guests_min >= Some(2), "a world has at least 2 guests");
    assert!(
        requests_min >= REQUESTS_MIN,
        "a world has at least {REQUESTS_MIN} requests, one had {requests_min}"
    );
    let kinds = [
        disk_errors,
        short_transfers,
        reordered,
        guest_deaths,
        detaches,
        new_kernels,
    ];
    assert!(
        kinds.iter().all(|count| *count > 0),
        "a kind of fault never occurred"
    );
    Ok(())
}

fn two_processes_agree() -> Result<(), Failed> {
    let program = std::env::current_exe()?;
    let other = Command::new(program).arg("hash").output()?;
    let ours = all_worlds()
        .as_ref()
        .map_err(|failure| explain(failure, None))?;
    let said = String::from_utf8_lossy(&other.stderr);
    assert!(other.status.success(), "the other process failed: {said}");
    let theirs = String::from_utf8_lossy(&other.stdout);
    let (ours, theirs) = (ours.lines(), theirs.lines());
    assert_eq!(
        theirs.clone().count(),
        ours.len(),
        "worlds of the other process"
    );
    let differing = ours
        .iter()
        .zip(theirs)
        .find(|(ours, theirs)| ours != theirs);
    assert_eq!(
        differing, None,
        "the first world that two processes saw differently"
    );
    Ok(())
}

/// The bug is found within the seeds, and the printed command finds it again.
fn is_found(bug: Bug) -> Result<(), Failed> {
    let failure = (0..seeds()).find_map(|seed| world(seed, Some(bug), false).err());
    let failure = failure.ok_or(format!("no world noticed {}", bug.name()))?;
    println!("{}", explain(&failure, Some(bug)));
    let replay = Command::new(std::env::current_exe()?)
        .args(["replay", &failure.seed.to_string(), bug.name()])
        .output()?;
    assert!(!replay.status.success(), "the replay went well");
    let said = String::from_utf8_lossy(&replay.stderr);
    assert!(
        said.contains(&failure.to_string()),
        "the replay failed differently: {said}"
    );
    Ok(())
}

fn explain(failure: &Failure, bug: Option<Bug>) -> String {
    let bug = bug.map_or(String::new(), |bug| format!(" {}", bug.name()));
    let seed = failure.seed;
    format!(
        "{failure}\n  to see it again: cargo test -p halcyon --test worlds -- replay {seed}{bug}"
    )
}

fn replay(seed: &str, bug: Option<&str>) -> ExitCode {
    let planted = bug.map(|name| Bug::ALL.into_iter().find(|bug| bug.name() == name));
    let (Ok(seed), None | Some(Some(_))) = (seed.parse(), planted) else {
        eprintln!("replay: give the number of a world, and a bug's name or none");
        return ExitCode::from(2);
    };
    match world(seed, planted.flatten(), true) {
        Ok(report) => {
            println!("world {seed} ended well: {report:?}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
