//! The demo's stage set: scratch images, a simulated host, and guests with a disk each.
//!
//! Invariant: whatever happens, dropping it ends every process and removes every scratch file.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sim::live::DomainInfo;
use sim::toolstack::{Disk, plug, wait};

use super::crew::{Process, Stage};
use super::meter::Subjects;
use super::reader::content;
use super::scale::Scale;
use super::scratch::Scratch;
use crate::cli::args::DemoArgs;
use crate::error::{Doing as _, Failure};
use crate::guest::disk::content_seed;
use crate::guest::wire::Said;
use crate::simctl::create::{PATIENCE, new_domain, new_uuid, number};
use crate::simctl::diskspec::DiskSpec;
use crate::simctl::{self};

/// How long all guests together may take to connect.
const CONNECTING: Duration = Duration::from_secs(60);

/// A guest, its disk and its processes.
#[derive(Debug)]
pub struct Player {
    /// The domain it has now.
    pub domain: DomainInfo,
    /// Its disk.
    pub disk: Disk,
    /// Where that lies.
    pub image: PathBuf,
    /// Seed of the guest.
    pub seed: u64,
    /// Serves it.
    pub vm: Process,
    /// Plays it.
    pub guest: Process,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Show {
    // Dropped in this order: processes first, files last.
    /// The guests.
    pub players: Vec<Player>,
    /// The toolstack's connections.
    pub toolstack: simctl::Host,
    /// The simulated host.
    pub host: Process,
    /// Where processes come from.
    pub stage: Stage,
    // Held for its end: the host's directory goes with it.
    _host_dir: Scratch,
    /// For images and dumps.
    pub scratch: Scratch,
    /// Whether the content of the images is known from the first byte on.
    pub stamped: bool,
    /// What every guest is told on its command line, beside its seed.
    pub guest_args: Vec<&'static str>,
}

impl Show {
    /// A host without guests.
    pub fn new(args: &DemoArgs) -> Result<Self, Failure> {
        let (scratch, host_dir) = (Scratch::new()?, Scratch::for_host()?);
        super::cleanup::on_interrupt(&[scratch.path(), host_dir.path()])?;
        let stage = Stage::new(host_dir.path(), &scratch.path().join("log"))?;
        let host = stage.host()?;
        let toolstack = simctl::Host::connect(host_dir.path())?;
        let stamped = args.disk.is_none();
        let guest_args = if stamped {
            vec!["--initial", "stamps"]
        } else {
            Vec::new()
        };
        Ok(Self {
            players: Vec::new(),
            toolstack,
            host,
            stage,
            _host_dir: host_dir,
            scratch,
            stamped,
            guest_args,
        })
    }

    /// The images of all guests: scratch images, or the user's own.
    pub fn images(
        &self,
        args: &DemoArgs,
        scale: &Scale,
        each: impl Fn(u64),
    ) -> Result<Vec<PathBuf>, Failure> {
        if let Some(path) = &args.disk {
            let found = path
                .canonicalize()
                .doing(|| format!("look for {}", path.display()))?;
            return Ok(vec![found]);
        }
        (0..u64::from(scale.vms))
            .map(|index| {
                each(index);
                let seed = content_seed(args.seed.wrapping_add(index), XVDA);
                self.scratch
                    .image(&format!("{index}.img"), scale.disk_bytes, |at, bytes| {
                        for (sector, to) in (at / 512..).zip(bytes.as_chunks_mut().0) {
                            *to = content(seed, sector, 0);
                        }
                    })
            })
            .collect()
    }

    /// A guest that boots from `image`, as a new VM or, with a UUID, as one that comes back.
    pub fn add(
        &mut self,
        index: u64,
        image: &Path,
        args: &DemoArgs,
        memory_bytes: u64,
    ) -> Result<(), Failure> {
        let seed = args.seed.wrapping_add(index);
        let writable = args.disk.is_none() || args.write;
        let params = image.display().to_string();
        let spec = DiskSpec {
            params,
            vdev: None,
            writable,
        };
        let name = format!("demo-{index}");
        let player = self.boot(&name, &new_uuid()?, memory_bytes, &spec, seed, None)?;
        self.players.push(player);
        Ok(())
    }

    /// Creates a domain with a disk, and the processes that serve and play it.
    pub fn boot(
        &mut self,
        name: &str,
        uuid: &str,
        memory_bytes: u64,
        spec: &DiskSpec,
        seed: u64,
        model: Option<&Path>,
    ) -> Result<Player, Failure> {
        let domain = new_domain(&mut self.toolstack, name, uuid, memory_bytes)?;
        let disk = number(&domain, spec, &[])?;
        let what = || format!("disk {}", spec.params);
        let vm = self.stage.serve(domain.domid)?;
        if self.stamped {
            for batch in [disk.attach(), disk.script_done()] {
                let batch = batch.doing(what)?;
                wait::run(&mut self.toolstack.store, batch).doing(what)?;
            }
        } else {
            // A user's image may be refused: its backend says why before there is a guest.
            plug(&mut self.toolstack.store, &disk, PATIENCE)
                .map_err(|error| Failure::failed(crate::error::chain(&error)))?;
        }
        let seed_text = seed.to_string();
        let model = model.map(|path| path.display().to_string());
        let mut args = vec!["--seed", seed_text.as_str()];
        args.extend(&self.guest_args);
        if let Some(model) = &model {
            args.extend(["--model", model]);
        }
        let guest = self.stage.play(domain.domid, &args)?;
        Ok(Player {
            domain,
            disk,
            image: spec.params.clone().into(),
            seed,
            vm,
            guest,
        })
    }

    /// Waits until `count` guests have connected their disks.
    pub fn connected(&self, count: usize) -> Result<(), Failure> {
        let connected = |line: crate::guest::wire::Line| match line.said {
            Said::Connected { .. } => Some(()),
            _ => None,
        };
        self.stage
            .all_said(count, CONNECTING, "connected", connected)
            .map(drop)
    }

    /// The processes to measure.
    #[must_use]
    pub fn subjects(&self) -> Subjects {
        let run = self.toolstack.state_dir();
        let vm = |player: &Player| (player.vm.pid(), run.join(&player.domain.uuid));
        Subjects {
            vms: self.players.iter().map(vm).collect(),
            others: vec![self.host.pid()],
        }
    }

    /// The last lines that the processes logged: what to look at when something failed.
    #[must_use]
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines
            .iter()
            .skip(lines.len().saturating_sub(8))
            .map(|line| format!("{line}\n"))
            .collect()
    }

    /// Ends the host, which no guest uses any more.
    pub fn close(mut self) -> Result<(), Failure> {
        self.host.ended()
    }
}

/// The number of a guest's first disk.
pub const XVDA: u32 = 51712;

/// How long something took.
#[must_use]
pub fn since_ms(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
