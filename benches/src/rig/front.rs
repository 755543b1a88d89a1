//! The guest's end of a rig: a frontend that keeps 4 KiB requests under way anywhere on the disk.
//!
//! It verifies nothing but what the frontend itself does (poisoned pages, ended grants): whether
//! the data is right is for tests. Invariant: every request is counted once, when its answer came.

use std::path::Path;

use abi::{DomId, Sector};
use halcyon::error::{Doing as _, Failure};
use halcyon::guest::machine::Machine;
use reactor::live::Uring;
use reactor::{Completion, Reactor, Sleep};
use sim::front::{Blkfront, Config, Io, Kind, Outcome, Phase};

use super::DEVID;

/// Sectors of a request.
const SECTORS: u32 = 8;

/// See the head of this file.
pub struct Front {
    machine: Machine,
    reactor: Uring,
    front: Blkfront,
    completions: Vec<Completion>,
    random: u64,
}

impl Front {
    /// Boots the guest of `domid` and starts its driver.
    pub fn new(dir: &Path, domid: DomId) -> Result<Self, Failure> {
        let (mut machine, reactor) = Machine::boot(dir, domid, 1)?;
        let directory = xenstore::Path::new(format!("device/vbd/{DEVID}"));
        let mut front = Blkfront::new(Config::new(directory.doing(|| "name a disk".into())?));
        front.start(&mut machine.kernel());
        Ok(Self {
            machine,
            reactor,
            front,
            completions: Vec::with_capacity(64),
            random: 1,
        })
    }

    /// Whether requests are taken.
    pub fn is_connected(&self) -> Result<bool, Failure> {
        match self.front.phase() {
            Phase::Failed(why) => Err(Failure::failed(format!("frontend: {why}"))),
            phase => Ok(*phase == Phase::Connected),
        }
    }

    /// Takes in what has happened, without sleeping.
    pub fn step(&mut self) -> Result<(), Failure> {
        self.run(Sleep::No)
    }

    /// Sleeps until something has happened, and takes it in.
    pub fn wake(&mut self) -> Result<(), Failure> {
        self.run(Sleep::UntilWork)
    }

    fn run(&mut self, sleep: Sleep) -> Result<(), Failure> {
        self.machine.send(&mut self.reactor);
        self.reactor.wait(sleep, &mut self.completions);
        for completion in self.completions.drain(..) {
            let ports = self.machine.complete(&mut self.reactor, completion);
            for port in ports.doing(|| "run a guest".into())? {
                if self.front.port() == Some(port) {
                    self.front.kicked(&mut self.machine.kernel());
                }
            }
        }
        while let Some(event) = self.machine.store().next_event() {
            self.front.store_event(&mut self.machine.kernel(), &event);
        }
        Ok(())
    }

    /// Puts `count` requests on the ring and notifies if the backend wants it.
    pub fn submit(&mut self, kind: Kind, count: u32) -> Result<(), Failure> {
        let sectors = self.front.properties().map_or(0, |disk| disk.sectors.0);
        for _ in 0..count {
            let sector = self.next_sector(sectors);
            let io = Io {
                kind,
                sector,
                sectors: SECTORS,
                first_sect: 0,
                token: 0,
            };
            let submitted = self.front.submit(&mut self.machine.kernel(), io, |_, _| {});
            submitted.doing(|| "submit a request".into())?;
        }
        self.front.kick(&mut self.machine.kernel());
        Ok(())
    }

    /// Requests that were answered since the last call.
    pub fn answered(&mut self) -> Result<u32, Failure> {
        let mut count = 0;
        while let Some(outcome) = self
            .front
            .next_done(&mut self.machine.kernel(), |done, _| done.outcome)
        {
            if outcome != Outcome::Answered(abi::io::blkif::Status::OKAY) {
                return Err(Failure::failed(format!("a request ended with {outcome:?}")));
            }
            count += 1;
        }
        match self.front.violations().first() {
            Some(violation) => Err(Failure::failed(format!("backend: {violation}"))),
            None => Ok(count),
        }
    }

    /// Keeps `depth` requests under way until `count` are answered.
    pub fn load(&mut self, kind: Kind, depth: u32, count: u64) -> Result<(), Failure> {
        let (mut submitted, mut answered) = (0, 0);
        let mut room = depth;
        while answered < count {
            let next = u32::try_from(count - submitted).unwrap_or(room).min(room);
            if next > 0 {
                self.submit(kind, next)?;
            }
            submitted += u64::from(next);
            self.wake()?;
            room = self.answered()?;
            answered += u64::from(room);
        }
        Ok(())
    }

    /// Somewhere on a disk of `sectors`, at a multiple of the request's length.
    fn next_sector(&mut self, sectors: u64) -> Sector {
        // Knuth's MMIX constants; the upper bits are the good ones.
        let (multiplier, increment) = (6_364_136_223_846_793_005, 1_442_695_040_888_963_407);
        self.random = self.random.wrapping_mul(multiplier).wrapping_add(increment);
        let places = (sectors / u64::from(SECTORS)).max(1);
        Sector((self.random >> 33) % places * u64::from(SECTORS))
    }
}
