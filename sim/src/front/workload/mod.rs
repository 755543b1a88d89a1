//! A verified load on one disk: every sector that is read is compared with the model of what was
//! written.
//!
//! It is stepped by its owner with the time as an argument and works through a [`Blkfront`]; for
//! several disks there are several of it. It knows nothing of events or sleeping.
//!
//! Invariant: no two requests under way touch the same sector, unless both read it; so what a read
//! must find is known when it is submitted.

use abi::Sector;
use abi::io::blkif::Status;

use super::Kernel;
use super::blkfront::{Blkfront, Done, Io, Kind, Outcome, Phase, Refused, Sectors};

mod counts;
mod model;
mod plan;
mod stamp;

pub use counts::{Counts, Mismatch, Progress};
pub use model::{Initial, Model, Source, UNCERTAIN};
use plan::Chooser;
pub use plan::{Pattern, Plan};
pub use stamp::{Block, stamp};

/// Mismatches that are kept in full; all are counted.
const MISMATCHES_KEPT: usize = 16;
/// Requests that are given up in one step because they would overlap one under way.
const ATTEMPTS: u32 = 8;

/// A request under way.
#[derive(Debug)]
struct UnderWay {
    io: Io,
    submitted_ns: u64,
}

/// A load on one disk.
#[derive(Debug)]
pub struct Workload {
    plan: Plan,
    model: Model,
    chooser: Option<Chooser>,
    under_way: Vec<UnderWay>,
    submitted: u64,
    started_ns: Option<u64>,
    counts: Counts,
    mismatches: Vec<Mismatch>,
    /// A flush failed in this connection.
    flush_failed: bool,
}

impl Workload {
    /// A load on a disk of which `model` is known.
    pub fn new(plan: Plan, model: Model) -> Self {
        Self {
            plan,
            model,
            chooser: None,
            under_way: Vec::new(),
            submitted: 0,
            started_ns: None,
            counts: Counts::default(),
            mismatches: Vec::new(),
            flush_failed: false,
        }
    }

    /// The same disk, another load. Nothing may be under way.
    pub fn again(self, plan: Plan) -> Self {
        debug_assert!(
            self.under_way.is_empty(),
            "a load that has not come to its end"
        );
        Self::new(plan, self.model)
    }

    /// What became of it so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The first mismatches.
    pub fn mismatches(&self) -> &[Mismatch] {
        &self.mismatches
    }

    /// What the disk must hold.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What the disk must hold, when the load is over.
    pub fn into_model(self) -> Model {
        self.model
    }

    /// The guest is gone: what was under way may or may not have happened.
    pub fn lose(&mut self) {
        for UnderWay { io, .. } in std::mem::take(&mut self.under_way) {
            if io.kind == Kind::Write {
                self.note_write(&io, false);
            }
        }
    }

    /// Requests under way.
    pub fn in_flight(&self) -> usize {
        self.under_way.len()
    }

    /// Takes what is over, verifies it, submits more and kicks. To be called after every event on
    /// the frontend's port, and once at the start.
    pub fn step(&mut self, front: &mut Blkfront, kernel: &mut Kernel<'_>, now_ns: u64) -> Progress {
        while front
            .next_done(kernel, |done, data| self.take(done, data, now_ns))
            .is_some()
        {}
        // All that was asked through a connection is over by then.
        self.flush_failed &= *front.phase() != Phase::Down;
        let connected = *front.phase() == Phase::Connected;
        if connected {
            self.fill(front, kernel, now_ns);
            front.kick(kernel);
        }
        match (self.under_way.is_empty(), self.over(now_ns), connected) {
            (true, true, _) => Progress::Finished,
            (true, false, false) => Progress::Stuck,
            _ => Progress::Running,
        }
    }

    /// Whether nothing more is to be submitted.
    fn over(&self, now_ns: u64) -> bool {
        let started_ns = self.started_ns.unwrap_or(now_ns);
        let lasted_ns = now_ns.saturating_sub(started_ns);
        self.submitted >= self.plan.requests && lasted_ns >= self.plan.duration_ns
    }

    fn fill(&mut self, front: &mut Blkfront, kernel: &mut Kernel<'_>, now_ns: u64) {
        let Some(disk) = front.properties() else {
            return;
        };
        self.model.grow(disk.sectors);
        let plan = &self.plan;
        self.chooser
            .get_or_insert_with(|| Chooser::new(plan, disk))
            .resize(disk);
        for _ in 0..self.plan.depth.saturating_mul(2) {
            let full = self.under_way.len() >= self.plan.depth as usize;
            if full || self.over(now_ns) || !self.submit(front, kernel, now_ns) {
                return;
            }
        }
    }

    /// Submits one request; `false` if none can be just now.
    fn submit(&mut self, front: &mut Blkfront, kernel: &mut Kernel<'_>, now_ns: u64) -> bool {
        let token = self.submitted;
        let Some(io) = (0..ATTEMPTS).find_map(|_| self.choose(token)) else {
            return false;
        };
        let model = &mut self.model;
        let submitted = front.submit(kernel, io, |index, to| {
            let sector = Sector(io.sector.0 + u64::from(index));
            let generation = model.next_generation(sector);
            to.copy_from(&model.content(sector, generation));
        });
        if submitted.is_err() {
            debug_assert!(submitted != Err(Refused::Size), "{io:?}");
            return false;
        }
        if self.started_ns.is_none() {
            self.started_ns = Some(now_ns);
            self.counts.first_ns = now_ns;
        }
        self.submitted += 1;
        self.under_way.push(UnderWay {
            io,
            submitted_ns: now_ns,
        });
        true
    }

    /// A request that touches nothing that is being written, and writes nothing that is being
    /// touched.
    fn choose(&mut self, token: u64) -> Option<Io> {
        let io = self.chooser.as_mut()?.next(token)?;
        let clashes = self.under_way.iter().any(|other| clash(&io, &other.io));
        (!clashes).then_some(io)
    }

    fn take(&mut self, done: &Done, data: &Sectors<'_>, now_ns: u64) {
        let Some(at) = self.under_way.iter().position(|other| other.io == done.io) else {
            return;
        };
        let under_way = self.under_way.swap_remove(at);
        self.counts.requests += 1;
        self.counts.last_ns = now_ns;
        self.counts
            .latency
            .record(now_ns.saturating_sub(under_way.submitted_ns));
        *match done.io.kind {
            Kind::Read => &mut self.counts.reads,
            Kind::Write => &mut self.counts.writes,
            Kind::Flush => &mut self.counts.flushes,
        } += 1;
        match done.outcome {
            Outcome::Answered(Status::OKAY) => {
                self.counts.bytes += u64::from(done.io.sectors) * abi::SECTOR_SIZE as u64;
            }
            Outcome::Answered(Status::EOPNOTSUPP) => self.counts.unsupported += 1,
            Outcome::Answered(_) => self.counts.errors += 1,
            Outcome::Lost => self.counts.lost += 1,
        }
        self.note_flush(done);
        let okay = done.outcome == Outcome::Answered(Status::OKAY);
        match done.io.kind {
            Kind::Read if okay => self.verify(&done.io, data),
            Kind::Write => self.note_write(&done.io, okay),
            Kind::Read | Kind::Flush => {}
        }
    }

    /// Answers are seen in the order in which they were given.
    fn note_flush(&mut self, done: &Done) {
        let Outcome::Answered(status) = done.outcome else {
            return;
        };
        match (done.io.kind, status) {
            (Kind::Read, _) => {}
            (_, Status::OKAY) => {
                self.counts.acknowledged_after_flush += u64::from(self.flush_failed);
            }
            (kind, _) => {
                self.counts.errors_after_flush += u64::from(self.flush_failed);
                self.flush_failed |= kind == Kind::Flush && status == Status::ERROR;
            }
        }
    }

    fn note_write(&mut self, io: &Io, okay: bool) {
        for sector in io.sector.0..io.sector.0 + u64::from(io.sectors) {
            let generation = self.model.next_generation(Sector(sector));
            match okay {
                true => self.model.written(Sector(sector), generation),
                false => self.model.maybe_written(Sector(sector), generation),
            }
        }
    }

    fn verify(&mut self, io: &Io, data: &Sectors<'_>) {
        data.each(|index, from| {
            let sector = Sector(io.sector.0 + u64::from(index));
            if !self.model.knows(sector) {
                return;
            }
            let mut block = [0; abi::SECTOR_SIZE];
            from.copy_to(&mut block);
            if self.model.admits(sector, &block) {
                self.counts.verified_bytes += abi::SECTOR_SIZE as u64;
            } else {
                self.mismatch(sector, &block);
            }
        });
    }

    fn mismatch(&mut self, sector: Sector, block: &Block) {
        self.counts.mismatched += 1;
        if self.mismatches.len() < MISMATCHES_KEPT {
            let generation = self.model.certain(sector);
            let found = *block.first_chunk().expect("a block is longer");
            self.mismatches.push(Mismatch {
                sector,
                generation,
                found,
            });
        }
    }
}

/// Whether two requests must not be under way together.
fn clash(one: &Io, other: &Io) -> bool {
    let range = |io: &Io| (io.sector.0, io.sector.0 + u64::from(io.sectors));
    let ((start, end), (from, to)) = (range(one), range(other));
    let overlap = start < to && from < end;
    overlap && (one.kind == Kind::Write || other.kind == Kind::Write)
}
