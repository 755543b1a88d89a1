//! Hostile frontends, and drives that fail or hang, before the loop of a VM process: one guest with
//! two disks, of which one is odd and the other must not notice.
//!
//! Every scene is judged by the world: the honest load ends with every byte right, the process
//! neither panics nor ends, everything comes to rest, and at the end no grant is mapped or in use,
//! no port bound and no image open. `cargo test -p halcyon --test hostile` runs all; a failure
//! prints the command that shows the same scene again, step by step.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use libtest_mimic::{Arguments, Failed, Trial};
use sim::front::Script;
use sim::world::{Ending, Failure, Odd, play};

mod drives;
mod expected;
#[path = "../../../blkback/tests/conformance/support/log.rs"]
mod log;
#[path = "../support/process.rs"]
mod process;

/// Orders of events in which each named script is played.
const ORDERS: u64 = 8;
/// Scripts that a seed makes up; the environment may ask for more.
const SEEDS: u64 = 200;
/// Raises [`SEEDS`].
const SEEDS_VARIABLE: &str = "HALCYON_HOSTILE";
/// Acts of a script that a seed makes up.
const ACTS: usize = 40;
/// Threads that play them; what they find does not depend on it.
const THREADS: u64 = 2;

/// A process with nothing around its parts.
struct AsIs;

impl process::Around for AsIs {}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [replay, script, seed] = &words[..]
        && replay == "replay"
    {
        return show(script, seed);
    }
    let named = Script::all().into_iter().map(|script| {
        let name = format!("a_hostile_frontend_harms_nobody_else::{}", script.name);
        Trial::test(name, move || in_every_order(&script))
    });
    let mut trials: Vec<Trial> = named.collect();
    trials.push(Trial::test("random_frontends_harm_nobody_else", random));
    trials.extend(drives::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn scene(seed: u64, odd: Odd, told: bool) -> Result<Ending, Failure> {
    play(seed, odd, &|start| process::start(start, AsIs), told)
}

fn in_every_order(script: &Script) -> Result<(), Failed> {
    for seed in 0..ORDERS {
        let ending = scene(seed, Odd::Frontend(script.clone()), false);
        let ending = ending.map_err(|failure| explain(&failure, script.name))?;
        expected::of(script.name)
            .holds(&ending)
            .map_err(|why| format!("{why}: {ending:?}\n{}", again(script.name, seed)))?;
    }
    Ok(())
}

fn random() -> Result<(), Failed> {
    let asked = std::env::var(SEEDS_VARIABLE).ok();
    let asked = asked.and_then(|text| text.parse().ok());
    let (count, next) = (asked.unwrap_or(0).max(SEEDS), AtomicU64::new(0));
    println!("hostile: {count} random scripts of {ACTS} acts, named ones in {ORDERS} orders");
    let work = || {
        let seeds = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let mut seeds = seeds.take_while(|seed| *seed < count);
        seeds.try_for_each(|seed| scene(seed, made_up(seed), false).map(drop))
    };
    let ended: Result<(), Failure> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        let mut ends = threads.into_iter().map(|thread| thread.join());
        ends.try_for_each(|end| end.expect("a scene that panics is a failure of its own"))
    });
    ended.map_err(|failure| explain(&failure, "random").into())
}

fn made_up(seed: u64) -> Odd {
    Odd::Frontend(Script::random(seed, ACTS))
}

fn explain(failure: &Failure, script: &str) -> String {
    format!("{failure}\n{}", again(script, failure.seed))
}

fn again(script: &str, seed: u64) -> String {
    format!("  to see it again: cargo test -p halcyon --test hostile -- replay {script} {seed}")
}

fn show(name: &str, seed: &str) -> ExitCode {
    let named = Script::all().into_iter().find(|script| script.name == name);
    let Ok(seed) = seed.parse() else {
        eprintln!("replay: give the name of a script, or random, and a number");
        return ExitCode::from(2);
    };
    match scene(seed, named.map_or(made_up(seed), Odd::Frontend), true) {
        Ok(ending) => {
            println!("scene {name} {seed} ended well: {ending:#?}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
