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

use abi::DomId;
use reactor::Verb;

use super::guest::{self, Guest};
use super::process::{Possible, Progress, Running, Spawn};
use super::tool::Tool;
use super::{Drive, Fate, Host, Rng, Trace, build};

/// More steps than any world needs by far: one that takes them all is going round in circles.
const STEPS_MAX: u64 = 2_000_000;

/// Of so many steps, one is a fault or the passing of time, where either is possible.
const FAULT_ONCE_IN: u64 = 400;
const TIME_ONCE_IN: u64 = 200;
/// Of so many disk operations, one fails, and one is short.
const ERROR_ONCE_IN: u64 = 97;
const SHORT_ONCE_IN: u64 = 61;
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
    steps: Vec<Step>,
    scratch: (Vec<guest::Possible>, Vec<Possible>),
}

impl World {
    fn new(seed: u64, told: bool) -> Result<Self, String> {
        let mut rng = Rng::new(seed);
        let host = Host::new();
        let mut tool = Tool::new(&host);
        let mut drives = Vec::new();
        let mut plans = Vec::new();
        for number in 0..build::guests(&mut rng) {
            plans.push(build::plan(
                &host,
                &mut tool,
                &mut rng,
                &mut drives,
                number,
            )?);
        }
        Ok(Self {
            host,
            rng,
            trace: Trace::new(told),
            now_ns: 0,
            tool,
            drives,
            guests: Vec::new(),
            errors: vec![0; plans.len()],
            plans,
            processes: Vec::new(),
            tally: Tally::default(),
            steps: Vec::new(),
            scratch: (Vec::new(), Vec::new()),
        })
    }

    fn live(&mut self, spawn: &Spawn<'_>) -> Result<Report, String> {
        for plan in &self.plans {
            let process = Running::start(&self.host, plan.domid(), &self.drives, spawn);
            self.processes
                .push(Some(process.map_err(|error| error.to_string())?));
            let guest = plan.boot(&self.host, &mut self.rng)?;
            self.guests.push(Some(guest));
        }
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

    fn finish_drive(&mut self, at: usize, id: reactor::world::OpId) {
        let Some(process) = &mut self.processes[at] else {
            return;
        };
        let fate = match process.verb(id) {
            Some(Verb::ReadAt | Verb::WriteAt) if self.rng.once_in(SHORT_ONCE_IN) => {
                // Disks move whole sectors.
                let sectors = process.len_bytes(id) / abi::SECTOR_SIZE;
                match self.rng.index(sectors) {
                    0 => Fate::Whole,
                    sectors => Fate::Short(sectors * abi::SECTOR_SIZE),
                }
            }
            _ if self.rng.once_in(ERROR_ONCE_IN) => Fate::Error(libc::EIO),
            _ => Fate::Whole,
        };
        self.tally.reordered += u64::from(process.overtakes(id));
        if process.drive(&mut self.drives, id, fate, &mut self.trace) {
            self.tally.short_transfers += u64::from(matches!(fate, Fate::Short(_)));
            let failed = u64::from(matches!(fate, Fate::Error(_)));
            self.tally.disk_errors += failed;
            self.errors[at] += failed;
        }
    }

    /// Something goes wrong for one guest, if one is busy.
    fn fault(&mut self) -> Result<(), String> {
        let busy: Vec<(usize, usize)> = self.busy().collect();
        let Some(&(at, disk)) = busy.get(self.rng.index(busy.len())) else {
            return Ok(());
        };
        match self.rng.below(6) {
            0 => {
                self.tally.guest_deaths += 1;
                self.end_guest(at)
            }
            1 | 2 => {
                self.tally.detaches += 1;
                self.detach(at, disk)
            }
            _ => {
                self.tally.new_kernels += 1;
                self.trace.note("new kernel", &[at as u64, disk as u64]);
                if let Some(guest) = &mut self.guests[at] {
                    guest.replace_kernel(disk);
                }
                Ok(())
            }
        }
    }

    /// Connected disks with requests under way, of guests that nothing else is happening to.
    fn busy(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let quiet = self.living().filter(|at| !self.is_detaching(*at));
        quiet.flat_map(move |at| {
            let guest = self.guests[at].as_ref();
            let disks = guest.map_or(0, |guest| guest.disks.len());
            let busy = move |disk: &usize| guest.is_some_and(|guest| guest.is_busy(*disk));
            (0..disks).filter(busy).map(move |disk| (at, disk))
        })
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

    fn detach(&mut self, at: usize, disk: usize) -> Result<(), String> {
        self.trace.note("detach", &[at as u64, disk as u64]);
        match self.plans[at].take_disk(disk) {
            Some(disk) => self.tool.detach(&self.host, disk),
            None => Ok(()),
        }
    }

    fn detach_all(&mut self) -> Result<(), String> {
        for at in self.living().collect::<Vec<_>>() {
            for disk in 0..self.plans[at].disks() {
                self.detach(at, disk)?;
            }
        }
        Ok(())
    }

    fn end_guests(&mut self) -> Result<(), String> {
        for at in self.living().collect::<Vec<_>>() {
            let guest = self.guests[at].as_ref();
            let lent = guest.map_or(0, Guest::grants_lent);
            if lent > 0 {
                return Err(format!(
                    "guest {at}: {lent} grants are lent after every disk is gone"
                ));
            }
            self.end_guest(at)?;
        }
        Ok(())
    }

    /// A guest stops existing; what it saw of its disks is judged.
    fn end_guest(&mut self, at: usize) -> Result<(), String> {
        self.trace.note("end", &[at as u64]);
        let Some(mut guest) = self.guests[at].take() else {
            return Ok(());
        };
        let domid: DomId = guest.domid;
        guest.lose_everything();
        guest.leave(&self.host);
        self.host
            .destroy(domid)
            .map_err(|error| error.to_string())?;
        self.tool.forget(domid);
        let remove = self.plans[at].remove().map_err(|bad| bad.to_string())?;
        self.tool
            .write(&self.host, remove)
            .map_err(|error| format!("removing {domid}: {error}"))?;
        self.tally.requests += guest
            .judge(self.errors[at])
            .map_err(|why| format!("guest {at}: {why}"))?;
        self.plans[at].keep_models(guest);
        Ok(())
    }

    fn pass_time(&mut self, ns: u64) {
        self.now_ns += ns;
        for process in self.processes.iter_mut().flatten() {
            process.advance_to(self.now_ns);
        }
    }

    /// Nothing else can happen, or the seed is impatient.
    fn skip_to_deadline(&mut self) -> Result<(), String> {
        let next = self
            .processes
            .iter()
            .flatten()
            .filter_map(Running::deadline)
            .min();
        match next {
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

    /// What is left when everybody has gone, and what the drives hold.
    fn audit(&mut self) -> Result<(), String> {
        let domains = self.host.list().map_err(|error| error.to_string())?;
        if let Some(domain) = domains.first() {
            let (domid, mapped) = (domain.domid, domain.mapped);
            return Err(format!(
                "domain {domid} still exists, {mapped} of its pages mapped"
            ));
        }
        for (at, plan) in self.plans.iter_mut().enumerate() {
            plan.check_drives(&self.drives)
                .map_err(|why| format!("guest {at}: {why}"))?;
        }
        Ok(())
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
