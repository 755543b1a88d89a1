//! A world that a test makes up: one guest with an honest disk, and another disk that is not as it
//! should be. What the honest one sees is judged as in any world.
//!
//! ```text
//!   run to rest ─► look ─► detach both, run to rest ─► look ─► release what hangs, run to rest
//!       ─► lose patience with what is left, run to rest ─► nothing may be held ─► end the guest
//! ```
//!
//! Invariant: everything comes to rest, each time.

use abi::DomId;
use abi::io::blkif::Response;
use abi::io::xenbus::XenbusState;
use reactor::Verb;
use reactor::world::OpId;
use xenstore::Path;

use super::{Failure, STEP_NS, TIME_ONCE_IN, World};
use crate::front::{Phase, Script};
use crate::toolstack::Disk;
use crate::world::process::{Running, Spawn};
use crate::world::{Drive, build};

/// More steps than any scene takes by far.
const STEPS_MAX: u64 = 200_000;
/// The honest disk of the guest, and the other one; their drives have the same numbers.
const HONEST: usize = 0;
const ODD: usize = 1;

/// What is not as it should be with the second disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Odd {
    /// Its frontend means harm.
    Frontend(Script),
    /// Its drive answers writes and flushes with this errno.
    Failing(i32),
    /// Its drive finishes nothing until its disk is being detached.
    Hung,
}

/// What became of the second disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// Hash of everything that happened.
    pub hash: u64,
    /// Requests of honest frontends, all verified.
    pub requests: u64,
    /// When everything rested: what the other disk's backend had for a state.
    pub state: u32,
    /// What it told the operator, if anything.
    pub error: Option<String>,
    /// The answers that its ring showed.
    pub answers: Vec<Response>,
    /// Requests that its honest frontend had under way.
    pub in_flight: usize,
    /// Requests of it that failed.
    pub errors: u64,
    /// While it was being detached: operations in its drive.
    pub in_drive: usize,
    /// What its backend then had for a state.
    pub leaving: u32,
    /// Whether the toolstack had to lose patience.
    pub impatient: bool,
}

/// Plays a scene. With `told`, it prints everything that happens.
pub fn play(seed: u64, odd: Odd, spawn: &Spawn<'_>, told: bool) -> Result<Ending, Failure> {
    let mut world = World::empty(seed, told);
    let played = world.play(odd, spawn);
    let steps = world.trace.notes();
    played.map_err(|why| Failure { seed, steps, why })
}

impl World {
    fn play(&mut self, odd: Odd, spawn: &Spawn<'_>) -> Result<Ending, String> {
        let disk = self.set_up(odd)?;
        let untouched = self.drives[ODD].clone();
        self.boot(spawn)?;
        self.rest()?;
        let mut ending = Ending::default();
        self.look(&disk, &mut ending)?;
        self.detach_all()?;
        self.rest()?;
        ending.in_drive = self.processes[0].as_ref().map_or(0, Running::in_drives);
        ending.leaving = self.state(&disk)?.0;
        self.released = true;
        self.rest()?;
        ending.impatient = self.tool.give_up() > 0;
        self.rest()?;
        self.is_clean(disk.domid)?;
        self.is_untouched(&untouched)?;
        self.end_guests()?;
        self.rest()?;
        self.audit()?;
        ending.requests = self.tally.requests;
        ending.hash = self.trace.hash();
        Ok(ending)
    }

    /// Makes the guest; the second disk is returned.
    fn set_up(&mut self, odd: Odd) -> Result<Disk, String> {
        let script = match &odd {
            Odd::Frontend(script) => Some(script.clone()),
            _ => None,
        };
        self.odd = Some(odd);
        let World {
            host,
            tool,
            rng,
            drives,
            ..
        } = self;
        let plan = build::odd_plan(host, tool, rng, drives, script)?;
        let disk = plan.disk(ODD).ok_or("a disk that was just made")?;
        self.plans.push(plan);
        Ok(disk)
    }

    /// Steps until nothing can happen any more.
    fn rest(&mut self) -> Result<(), String> {
        loop {
            if self.trace.notes() > STEPS_MAX {
                return Err(format!("never at rest: {}", self.describe()));
            }
            self.collect();
            self.pass_time(STEP_NS);
            match (self.steps.is_empty(), self.next_deadline()) {
                (true, None) => return Ok(()),
                (true, Some(_)) => self.skip_to_deadline()?,
                (false, _) if self.rng.once_in(TIME_ONCE_IN) => self.skip_to_deadline()?,
                (false, _) => {
                    let step = self.steps[self.rng.index(self.steps.len())];
                    self.take(step)?;
                }
            }
        }
    }

    /// Whether the honest disk is done, and how the other one stands.
    fn look(&mut self, disk: &Disk, ending: &mut Ending) -> Result<(), String> {
        ending.state = self.state(disk)?.0;
        ending.error = self.node(disk, "hotplug-error")?;
        let why = self.describe();
        let guest = self.guests[0].as_ref().ok_or("the guest is gone")?;
        if !guest.disks[HONEST].is_finished() {
            return Err(format!("the honest disk stands still: {why}"));
        }
        if let Some(other) = guest.disks.get(ODD) {
            ending.in_flight = other.front.in_flight();
            ending.errors = other.load.counts().errors;
        }
        if let Some(hostile) = &guest.hostile {
            ending.answers = hostile.responses();
        }
        Ok(())
    }

    fn state(&mut self, disk: &Disk) -> Result<XenbusState, String> {
        let state = self.node(disk, "state")?;
        Ok(state.map_or(XenbusState::UNKNOWN, |text| {
            XenbusState::parse(text.as_bytes())
        }))
    }

    /// A node of a backend.
    fn node(&mut self, disk: &Disk, key: &str) -> Result<Option<String>, String> {
        let path = Path::new(format!("{}/{key}", disk.backend())).map_err(|bad| bad.to_string())?;
        let value = self.tool.read(&self.host, path);
        Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }

    /// No grant mapped or in use, no port bound, no file open.
    fn is_clean(&mut self, domid: DomId) -> Result<(), String> {
        let domains = self.host.list().map_err(|error| error.to_string())?;
        let mapped: usize = domains.iter().map(|domain| domain.mapped).sum();
        let ports = self.host.backend_ports(domid);
        let open = self.processes[0].as_ref().map_or(0, Running::images_open);
        let guest = self.guests[0].as_mut().ok_or("the guest is gone")?;
        let in_use = guest.disarm();
        if (mapped, ports, open, in_use) != (0, 0, 0, 0) {
            return Err(format!(
                "left behind: {mapped} pages mapped, {ports} ports, {open} images open, {in_use} \
                 grants in use"
            ));
        }
        if guest
            .disks
            .iter()
            .any(|disk| *disk.front.phase() != Phase::Down)
        {
            return Err(format!("an honest disk is not down: {}", self.describe()));
        }
        Ok(())
    }

    /// A frontend that means harm writes nothing, so its disk must be as it was.
    fn is_untouched(&self, before: &Drive) -> Result<(), String> {
        let hostile = matches!(self.odd, Some(Odd::Frontend(_)));
        if hostile && self.drives[ODD].bytes() != before.bytes() {
            return Err("a disk was changed that nobody wrote to".into());
        }
        Ok(())
    }

    /// How an operation fails, if the scene wants it to.
    pub(super) fn failure(&self, at: usize, id: OpId) -> Option<i32> {
        let Some(Odd::Failing(errno)) = self.odd else {
            return None;
        };
        let process = self.processes.get(at)?.as_ref()?;
        let writes = matches!(process.verb(id), Some(Verb::WriteAt | Verb::Sync));
        (writes && process.drive_of(id) == Some(ODD)).then_some(errno)
    }

    /// The drive that finishes nothing.
    pub(super) fn hung(&self) -> Option<usize> {
        (self.odd == Some(Odd::Hung) && !self.released).then_some(ODD)
    }
}
