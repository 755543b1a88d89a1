//! One disk of a guest: its frontend, and the load that verifies it.
//!
//! It knows where a disk's first content is to be found: that is a matter of the demo, not of the
//! workload. Invariant: there is one model of a disk's content from boot to shutdown.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use abi::Sector;
use sim::front::workload::{Block, Progress};
use sim::front::{Blkfront, Config, Initial, Kernel, Model, Phase, Plan, Workload};

use super::wire::Ran;
use crate::error::{Doing as _, Failure};

/// What a disk holds before its guest writes to it.
#[derive(Clone, Debug)]
pub enum Content {
    /// Stamps of generation 0.
    Stamps,
    /// What this file holds.
    Image(PathBuf),
    /// Nobody knows.
    Unknown,
}

/// The seed of what is on a disk of a guest with that seed.
#[must_use]
pub fn content_seed(seed: u64, devid: u32) -> u64 {
    seed.wrapping_add(u64::from(devid) << 32)
}

/// See the head of this file.
pub struct Disk {
    /// Its number.
    pub devid: u32,
    /// Its driver.
    pub front: Blkfront,
    /// Whether the disks were listed anew since its driver gave up, or are being listed.
    pub doubted: bool,
    seed: u64,
    content: Content,
    dump: Option<PathBuf>,
    /// None before the first connection.
    work: Option<Workload>,
    finished: bool,
}

impl Disk {
    /// A disk that is not connected yet.
    pub fn new(
        devid: u32,
        seed: u64,
        content: Content,
        dump: Option<PathBuf>,
    ) -> Result<Self, Failure> {
        let directory = xenstore::Path::new(format!("device/vbd/{devid}"));
        let config = Config::new(directory.doing(|| format!("disk {devid}"))?);
        let front = Blkfront::new(config);
        let seed = content_seed(seed, devid);
        Ok(Self {
            devid,
            front,
            doubted: false,
            seed,
            content,
            dump,
            work: None,
            finished: true,
        })
    }

    /// Begins a load; the disk is connected.
    pub fn begin(&mut self, plan: Plan) -> Result<(), Failure> {
        self.work = Some(match self.work.take() {
            Some(work) => work.again(plan),
            None => Workload::new(plan, self.model()?),
        });
        self.finished = false;
        Ok(())
    }

    /// Goes on with the load; whether it has just come to its end.
    pub fn step(&mut self, kernel: &mut Kernel<'_>, now_ns: u64) -> Result<bool, Failure> {
        let (Some(work), false) = (&mut self.work, self.finished) else {
            return Ok(false);
        };
        match work.step(&mut self.front, kernel, now_ns) {
            Progress::Running => Ok(false),
            Progress::Finished => {
                self.finished = true;
                Ok(true)
            }
            Progress::Stuck => Err(Failure::failed(format!(
                "disk {} was disconnected in the middle of a load ({:?})",
                self.devid,
                self.front.phase()
            ))),
        }
    }

    /// Whether no load is under way.
    pub fn is_idle(&self) -> bool {
        self.finished
    }

    /// Requests of the present load that were answered.
    pub fn answered(&self) -> u64 {
        self.work.as_ref().map_or(0, |work| work.counts().requests)
    }

    /// Whether the driver has reached a phase.
    pub fn is_in(&self, phase: &Phase) -> bool {
        self.front.phase() == phase
    }

    /// Why the driver has given up, if it has.
    pub fn failure(&self) -> Option<&str> {
        match self.front.phase() {
            Phase::Failed(why) => Some(why),
            _ => None,
        }
    }

    /// Adds what became of the load, and says on stderr what was wrong.
    pub fn report(&self, ran: &mut Ran) {
        let Some(work) = &self.work else { return };
        ran.add(work.counts(), self.front.violations().len());
        for mismatch in work.mismatches() {
            tracing::error!("disk {}: {mismatch:?}", self.devid);
        }
        for violation in self.front.violations() {
            tracing::error!("disk {}: {violation}", self.devid);
        }
    }

    /// Writes what the disk must hold.
    pub fn dump(&self, path: &Path) -> Result<(), Failure> {
        let what = || {
            format!(
                "dump what disk {} must hold to {}",
                self.devid,
                path.display()
            )
        };
        let Some(work) = &self.work else {
            return Err(Failure::failed(format!("{}: no load has run", what())));
        };
        let to = File::create(path).doing(what)?;
        work.model().dump(std::io::BufWriter::new(to)).doing(what)
    }

    fn model(&self) -> Result<Model, Failure> {
        let initial = match &self.content {
            Content::Stamps => Initial::Stamps,
            Content::Image(path) => given(path)?,
            Content::Unknown => Initial::Unknown,
        };
        let sectors = self
            .front
            .properties()
            .map_or(Sector(0), |disk| disk.sectors);
        let Some(dump) = &self.dump else {
            return Ok(Model::new(self.seed, sectors, initial));
        };
        let what = || format!("load what the disk must hold from {}", dump.display());
        let from = File::open(dump).doing(what)?;
        Model::load(self.seed, initial, from).doing(what)
    }
}

/// The content of an image, past whoever serves it.
fn given(path: &Path) -> Result<Initial, Failure> {
    let what = || format!("look into {}", path.display());
    let image = File::open(path).doing(what)?;
    let look = move |sector: Sector, block: &mut Block| {
        // What cannot be read will not match what the backend returns, and so be noticed.
        if image
            .read_exact_at(block, sector.0.saturating_mul(512))
            .is_err()
        {
            block.fill(0xEE);
        }
    };
    Ok(Initial::Given(Box::new(look)))
}

/// The path in a backend's `params`.
pub fn spec_path(params: &[u8]) -> Result<PathBuf, Failure> {
    let spec = disk::spec::ImageSpec::parse(params);
    spec.map(|spec| spec.path)
        .doing(|| "look for the image of a disk".into())
}
