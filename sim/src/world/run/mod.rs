//! One world from its first boot to its last leak check.
//!
//! ```text
//!   loop: what could happen?  guests ∪ processes ∪ toolstack ∪ time ∪ faults
//!         the seed picks one; it happens; it is noted in the trace
//!   until every load is over; then everything is taken down the same way, and counted
//! ```
//!
//! Faults that a backend must survive: disk errors, short transfers, reordered completions, death
//! of a guest, detach in the middle of I/O, a new kernel that takes over a connected disk.
//!
//! Invariant: a world ends: with a report, or with a failure that names its seed.

use super::guest::{self, Guest};
use super::process::{Possible, Progress, Running, Spawn};
use super::tool::Tool;
use super::{Drive, Host, Rng, Trace, build};

mod ending;
mod faults;
mod scene;

pub use scene::{Ending, Odd, play};

/// More steps than any world needs by far: one that takes them all is going round in circles.
const STEPS_MAX: u64 = 2_000_000;

/// Of so many steps, one is a fault or the passing of time, where either is possible.
const FAULT_ONCE_IN: u64 = 400;
const TIME_ONCE_IN: u64 = 200;
/// Time that passes with every step.
const STEP_NS: u64 = 1_000;

/// How often each kind of thing happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that guests saw the end of.
    pub requests: u64,
    /// Disk operations that failed.
    pub disk_errors: u64,
    /// Disk operations that moved less than asked.
    pub short_transfers: u64,
    /// Disk operations that ended before an older one.
    pub reordered: u64,
    /// Guests that died with requests under way.
    pub guest_deaths: u64,
    /// Disks detached with requests under way.
    pub detaches: u64,
    /// Kernels replaced with requests under way.
    pub new_kernels: u64,
}

/// A world that ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Hash of everything that happened.
    pub hash: u64,
    /// What happened.
    pub tally: Tally,
    /// How many guests there were.
    pub guests: usize,
}

/// A world that did not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("world {seed} failed after {steps} steps: {why}")]
pub struct Failure {
    /// The seed that shows it again.
    pub seed: u64,
    /// How far it got.
    pub steps: u64,
    /// What went wrong.
    pub why: String,
}

/// Runs the world of `seed`. With `told`, it prints everything that happens.
pub fn run(seed: u64, spawn: &Spawn<'_>, told: bool) -> Result<Report, Failure> {
    let mut world = World::new(seed, told).map_err(|why| Failure {
        seed,
        steps: 0,
        why,
    })?;
    let lived = world.live(spawn);
    lived.map_err(|why| Failure {
        seed,
        steps: world.trace.notes(),
        why,
    })
}

/// What is picked from.
#[derive(Clone, Copy, Debug)]
enum Step {
    Guest(usize, guest::Possible),
    Process(usize, Possible),
    Tool,
}

struct World {
    host: Host,
    rng: Rng,
    trace: Trace,
    now_ns: u64,
    tool: Tool,
    drives: Vec<Drive>,
    /// Guests, by the order of creation; `None` once they are gone.
    guests: Vec<Option<Guest>>,
    plans: Vec<build::Plan>,
    processes: Vec<Option<Running>>,
    tally: Tally,
    /// Disk errors that each guest may have seen.
    errors: Vec<u64>,
    /// What is not as it should be, in a world that a test made up.
    odd: Option<Odd>,
    /// What hung does so no longer.
    released: bool,
    steps: Vec<Step>,
    scratch: (Vec<guest::Possible>, Vec<Possible>),
}

impl World {
    fn new(seed: u64, told: bool) -> Result<Self, String> {
        let mut world = Self::empty(seed, told);
        for number in 0..build::guests(&mut world.rng) {
            let World {
                host,
                tool,
                rng,
                drives,
                ..
            } = &mut world;
            let plan = build::plan(host, tool, rng, drives, number)?;
            world.plans.push(plan);
        }
        Ok(world)
    }

    fn empty(seed: u64, told: bool) -> Self {
        let host = Host::new();
        Self {
            tool: Tool::new(&host),
            host,
            rng: Rng::new(seed),
            trace: Trace::new(told),
            now_ns: 0,
            drives: Vec::new(),
            guests: Vec::new(),
            errors: Vec::new(),
            odd: None,
            released: false,
            plans: Vec::new(),
            processes: Vec::new(),
            tally: Tally::default(),
            steps: Vec::new(),
            scratch: (Vec::new(), Vec::new()),
        }
    }

    /// Starts every guest and its process.
    fn boot(&mut self, spawn: &Spawn<'_>) -> Result<(), String> {
        for plan in &self.plans {
            let process = Running::start(&self.host, plan.domid(), &self.drives, spawn);
            self.processes
                .push(Some(process.map_err(|error| error.to_string())?));
            let guest = plan.boot(&self.host, &mut self.rng)?;
            self.guests.push(Some(guest));
            self.errors.push(0);
        }
        Ok(())
    }

    fn live(&mut self, spawn: &Spawn<'_>) -> Result<Report, String> {
        self.boot(spawn)?;
        self.until(Self::loads_are_over, true)?;
        self.detach_all()?;
        self.until(Self::disks_are_gone, false)?;
        self.end_guests()?;
        self.until(|world| world.processes.iter().all(Option::is_none), false)?;
        self.audit()?;
        let (hash, tally) = (self.trace.hash(), self.tally);
        Ok(Report {
            hash,
            tally,
            guests: self.plans.len(),
        })
    }

    /// Steps until `goal`; faults happen on the way if `faults`.
    fn until(&mut self, goal: impl Fn(&Self) -> bool, faults: bool) -> Result<(), String> {
        while !goal(self) {
            if self.trace.notes() > STEPS_MAX {
                return Err(format!("no end in sight: {}", self.describe()));
            }
            self.collect();
            self.pass_time(STEP_NS);
            if faults && self.rng.once_in(FAULT_ONCE_IN) {
                self.fault()?;
            } else if self.steps.is_empty() || self.rng.once_in(TIME_ONCE_IN) {
                self.skip_to_deadline()?;
            } else {
                let step = self.steps[self.rng.index(self.steps.len())];
                self.take(step)?;
            }
        }
        Ok(())
    }

    /// Everything that could happen now.
    fn collect(&mut self) {
        self.steps.clear();
        let hung = self.hung();
        let (of_guest, of_process) = &mut self.scratch;
        for (at, guest) in self.guests.iter_mut().enumerate() {
            let Some(guest) = guest else { continue };
            of_guest.clear();
            guest.possible(&self.host, of_guest);
            self.steps
                .extend(of_guest.iter().map(|what| Step::Guest(at, *what)));
        }
        for (at, process) in self.processes.iter_mut().enumerate() {
            let Some(process) = process else { continue };
            of_process.clear();
            process.possible(&self.host, of_process);
            if let Some(hung) = hung {
                of_process.retain(|what| !process.is_of_drive(*what, hung));
            }
            self.steps
                .extend(of_process.iter().map(|what| Step::Process(at, *what)));
        }
        if self.tool.is_possible(&self.host) {
            self.steps.push(Step::Tool);
        }
    }

    fn take(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Guest(at, what) => match &mut self.guests[at] {
                Some(guest) => guest.step(
                    &self.host,
                    what,
                    self.now_ns,
                    &mut self.rng,
                    &mut self.trace,
                ),
                None => Ok(()),
            },
            Step::Process(at, Possible::Turn) => self.turn(at),
            Step::Process(at, Possible::Drive(id)) => {
                self.finish_drive(at, id);
                Ok(())
            }
            Step::Process(at, Possible::Stream(id)) => {
                if let Some(process) = &mut self.processes[at] {
                    process.stream(&self.host, id, &mut self.rng, &mut self.trace);
                }
                Ok(())
            }
            Step::Tool => {
                self.tool.step(&self.host, &mut self.trace);
                Ok(())
            }
        }
    }

    fn turn(&mut self, at: usize) -> Result<(), String> {
        let Some(process) = &mut self.processes[at] else {
            return Ok(());
        };
        match process.turn(&mut self.trace) {
            Progress::Again | Progress::Idle => Ok(()),
            Progress::Failed(why) => Err(format!("process of guest {at}: {why}")),
            Progress::Done if self.guests[at].is_some() => {
                Err(format!("the process of guest {at} ended before its guest"))
            }
            Progress::Done => {
                let process = self.processes[at].take();
                let left = process.as_ref().map_or(0, Running::in_drives);
                process
                    .into_iter()
                    .for_each(|process| process.bury(&self.host));
                if left > 0 {
                    return Err(format!(
                        "process {at} ended with {left} operations in its drives"
                    ));
                }
                Ok(())
            }
        }
    }

    fn living(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.guests.len()).filter(|at| self.guests[*at].is_some())
    }

    fn is_detaching(&self, at: usize) -> bool {
        self.tool.is_detaching(self.plans[at].domid())
    }

    fn disks_are_gone(&self) -> bool {
        let down = |at: usize| self.guests[at].as_ref().is_none_or(Guest::is_down);
        self.living().all(|at| down(at) && !self.is_detaching(at))
    }

    fn loads_are_over(&self) -> bool {
        let over = |at: usize| self.guests[at].as_ref().is_none_or(Guest::is_finished);
        self.living().all(|at| over(at) && !self.is_detaching(at))
    }

    fn pass_time(&mut self, ns: u64) {
        self.now_ns += ns;
        for process in self.processes.iter_mut().flatten() {
            process.advance_to(self.now_ns);
        }
    }

    /// Nothing else can happen, or the seed is impatient.
    fn skip_to_deadline(&mut self) -> Result<(), String> {
        match self.next_deadline() {
            Some(deadline) => {
                self.trace.note("time", &[deadline]);
                self.pass_time(deadline.saturating_sub(self.now_ns));
                Ok(())
            }
            None if self.steps.is_empty() => Err(format!(
                "everybody waits for somebody else: {}",
                self.describe()
            )),
            None => Ok(()),
        }
    }

    fn next_deadline(&self) -> Option<u64> {
        let processes = self.processes.iter().flatten();
        processes.filter_map(Running::deadline).min()
    }

    fn describe(&self) -> String {
        let guests = self.guests.iter().enumerate();
        let of_guest = |(at, guest): (usize, &Option<Guest>)| match guest {
            Some(guest) => format!("guest {at}: {}", guest.describe()),
            None => format!("guest {at} is gone"),
        };
        guests.map(of_guest).collect::<Vec<_>>().join("; ")
    }
}
