//! The verified load: random writes of stamped sectors, and reads that must find them.

use std::time::{Duration, Instant};

use abi::Sector;
use sim::front::workload::{Initial, Model};

use super::SECTOR_BYTES;
use super::diagnose::diagnose;
use super::failure::Failure;
use super::plan::{Op, Order, Plan, Request};
use super::queue::{Queue, Slot, Way};
use super::target::Target;

/// How a verified load is run; has no influence on what it leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How many requests are under way at once, at the most.
    pub depth: u32,
    /// A flush after so many requests.
    pub flush_every: u64,
}

/// What a verified load did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Reads that ended well.
    pub reads: u64,
    /// Writes that ended well.
    pub writes: u64,
    /// Flushes that ended well.
    pub flushes: u64,
    /// Sectors that were read and compared.
    pub verified_sectors: u64,
    /// Sectors that were read before this load had written them: nobody knows what they must hold.
    pub unknown_sectors: u64,
    /// Sectors that were written.
    pub written_sectors: u64,
    /// How long it took.
    pub took: Duration,
}

/// Carries out a verified load, down to the last flush.
///
/// # Errors
/// The first error or mismatch.
pub fn write_verify(target: &Target, order: &Order, pace: Pace) -> Result<Outcome, Failure> {
    let mut load = Load::new(target, order, pace)?;
    let started = Instant::now();
    load.run()?;
    load.outcome.took = started.elapsed();
    Ok(load.outcome)
}

/// The model of a target that the load knows nothing of yet.
pub(super) fn model(order: &Order, plan: &Plan) -> Model {
    Model::new(order.seed, Sector(plan.sectors().end), Initial::Unknown)
}

struct Load<'a> {
    target: &'a Target,
    pace: Pace,
    plan: Plan,
    model: Model,
    queue: Queue<'a>,
    under_way: Vec<(Slot, Request)>,
    /// The next request, which has to wait.
    next: Option<Request>,
    outcome: Outcome,
}

impl<'a> Load<'a> {
    fn new(target: &'a Target, order: &Order, pace: Pace) -> Result<Self, Failure> {
        let plan = Plan::new(order, target)?;
        let queue = Queue::new(&target.file, pace.depth, plan.bytes_max());
        Ok(Self {
            target,
            pace,
            model: model(order, &plan),
            queue: queue.map_err(Failure::io("making an io_uring"))?,
            plan,
            under_way: Vec::new(),
            next: None,
            outcome: Outcome::default(),
        })
    }

    fn run(&mut self) -> Result<(), Failure> {
        loop {
            while self.submit() {}
            if self.under_way.is_empty() {
                return self.flush();
            }
            self.take()?;
            let done = self.outcome.reads + self.outcome.writes;
            if done.is_multiple_of(self.pace.flush_every) {
                self.flush()?;
            }
        }
    }

    /// Submits the next request, unless there is none, no room, or one under way in its place. It
    /// never goes past a request that waits: the order of writes to a sector is that of the plan.
    fn submit(&mut self) -> bool {
        let Some(slot) = self.queue.idle() else {
            return false;
        };
        let Some(request) = self.next.take().or_else(|| self.plan.next()) else {
            return false;
        };
        if self
            .under_way
            .iter()
            .any(|(_, other)| other.overlaps(&request))
        {
            self.next = Some(request);
            return false;
        }
        let bytes = length(&request);
        let way = match request.op {
            Op::Read => Way::Read,
            Op::Write => {
                fill(
                    &mut self.model,
                    &request,
                    &mut self.queue.buffer(slot)[..bytes],
                );
                Way::Write
            }
        };
        self.queue
            .submit(slot, way, request.sector * SECTOR_BYTES, bytes);
        self.under_way.push((slot, request));
        true
    }

    fn take(&mut self) -> Result<(), Failure> {
        let waited = self.queue.wait_for_half();
        let (slot, result) = waited.map_err(Failure::io("waiting for a request"))?;
        let at = self.under_way.iter().position(|(other, _)| *other == slot);
        let (_, request) = self
            .under_way
            .swap_remove(at.expect("a slot that was submitted"));
        whole(self.target, &request, result)?;
        match request.op {
            Op::Write => self.written(&request),
            Op::Read => self.compare(slot, &request)?,
        }
        Ok(())
    }

    fn written(&mut self, request: &Request) {
        for sector in request.range() {
            let generation = self.model.next_generation(Sector(sector));
            self.model.written(Sector(sector), generation);
        }
        self.outcome.writes += 1;
        self.outcome.written_sectors += request.sectors;
    }

    fn compare(&mut self, slot: Slot, request: &Request) -> Result<(), Failure> {
        let data = &self.queue.buffer(slot)[..length(request)];
        let verified = compare(&mut self.model, request, data, self.plan.sectors())?;
        self.outcome.reads += 1;
        self.outcome.verified_sectors += verified;
        self.outcome.unknown_sectors += request.sectors - verified;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let doing = || format!("flushing {}", self.target.name);
        self.target.file.sync_data().map_err(Failure::io(doing()))?;
        self.outcome.flushes += 1;
        Ok(())
    }
}

/// The bytes of a request.
pub(super) fn length(request: &Request) -> usize {
    usize::try_from(request.sectors * SECTOR_BYTES).expect("a request fits in memory")
}

/// Fills the buffer of a write with the next generation of each sector.
fn fill(model: &mut Model, request: &Request, buffer: &mut [u8]) {
    for (sector, block) in request.range().zip(buffer.as_chunks_mut().0) {
        let generation = model.next_generation(Sector(sector));
        *block = model.content(Sector(sector), generation);
    }
}

/// Compares what was read with the model. Returns how many sectors were known.
pub(super) fn compare(
    model: &mut Model,
    request: &Request,
    data: &[u8],
    within: std::ops::Range<u64>,
) -> Result<u64, Failure> {
    let mut known = 0;
    for (sector, block) in request.range().zip(data.as_chunks().0) {
        if !model.knows(Sector(sector)) {
            continue;
        }
        if !model.admits(Sector(sector), block) {
            return Err(Failure::Mismatch(diagnose(model, sector, block, within)));
        }
        known += 1;
    }
    Ok(known)
}

/// Whether all of a request was done.
pub(super) fn whole(
    target: &Target,
    request: &Request,
    result: std::io::Result<usize>,
) -> Result<(), Failure> {
    let Request {
        op,
        sector,
        sectors,
    } = request;
    let doing = match op {
        Op::Read => "reading",
        Op::Write => "writing",
    };
    let doing = || {
        format!(
            "{doing} {sectors} sectors at sector {sector} of {}",
            target.name
        )
    };
    match result.map_err(Failure::io(doing()))? {
        moved if moved == length(request) => Ok(()),
        moved => Err(Failure::Io {
            doing: doing(),
            source: std::io::Error::other(format!("only {moved} bytes")),
        }),
    }
}
