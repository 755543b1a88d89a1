//! `halcyon vm` on a kernel: the descriptors, the claim, and the loop that sleeps.
//!
//! It composes what [`super::Vm`] is made of. Invariant: the process sleeps in `reactor.wait` and
//! nowhere else, once it serves.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use abi::DomId;
use blkback::{Medium, Refusal};
use disk::prepare::Prepared;
use disk::raw::Raw;
use reactor::live::{Config, OPERATIONS, Uring};
use reactor::{Completion, Outcome, Pool, Reactor, Sleep, Slot, Submission, Token, Verb};
use xen::{Descriptors, Platform};

use super::claim::{self, Claim};
use super::devices::DEVICES_MAX;
use super::identity::{self, Identity};
use super::streams::{Slots, Streams};
use super::{Connection, Ended, Guest, Images, OWNER_IMAGES, Opened, Turn, Vm, td3};
use crate::broker::lock::{Found, Siblings};
use crate::broker::{Broker, Image, patience};
use crate::cli::args::VmArgs;
use crate::cli::place::{PlatformArg, state_dir};
use crate::error::{Doing as _, Exit, Failure, chain};
use crate::{malloc, signals, stats};

/// Files of a process that are no images: events, xenstore, signals, the broker's bell, monitors.
const STREAMS: usize = 4 + crate::libxl::FILES_MAX;

/// Serves one guest until it is gone or the process is told to stop.
pub fn run(platform: &PlatformArg, args: &VmArgs) -> Result<(), Failure> {
    Process::prepare(platform, args)?.run(serve)
}

/// What a process is made of when it has its guest and has not begun to serve: the place where a
/// test puts parts of its own.
pub struct Process<I> {
    /// Whom it serves.
    pub guest: Guest,
    /// Which VM that is.
    pub identity: Identity,
    /// What its devices work with.
    pub xen: Platform,
    /// Where it sleeps.
    pub reactor: Uring,
    /// How it talks to xenstore.
    pub connection: Connection,
    /// Where disks come from.
    pub images: I,
    /// What it shows of itself.
    pub stats: StatsFile,
    /// What it shows of itself as tapdisk does.
    pub td3: td3::Directory,
    /// That it and no other serves the guest.
    pub claim: Claim,
}

impl Process<LiveImages> {
    /// Takes the guest and everything that serving it needs.
    pub fn prepare(platform: &PlatformArg, args: &VmArgs) -> Result<Self, Failure> {
        malloc::for_a_small_process();
        let domid = DomId(args.domid);
        let signals = signals::descriptor().doing(|| "block signals".into())?;
        let (mut xen, descriptors) = attach(platform, domid)?;
        let mut reactor = Uring::new(tables()).doing(|| "start".into())?;
        let mut connection = listen(&mut reactor, descriptors, signals)?;
        let identity = identity::ask(&mut reactor, &mut connection, &mut *xen.events, domid)?;
        let dir = claim::vm_dir(&state_dir(platform), &identity.uuid)?;
        let claim = Claim::take(&dir, domid, &args.kind, patience::CLAIM)?;
        let stats = StatsFile::create(&dir)?;
        td3::sweep(&dir);
        let td3 = td3::Directory::new(&shared_memory(platform), &dir);
        let images = LiveImages::new(
            &mut reactor,
            Siblings::new(dir, domid),
            args.broker.as_deref(),
        )?;
        let kinds = args.kind.clone();
        Ok(Self {
            guest: Guest { domid, kinds },
            identity,
            xen,
            reactor,
            connection,
            images,
            stats,
            td3,
            claim,
        })
    }
}

/// Where processes leave what others map. A simulated host has a place of its own.
fn shared_memory(platform: &PlatformArg) -> PathBuf {
    match platform {
        PlatformArg::Linux => "/dev/shm".into(),
        PlatformArg::Sim(dir) => dir.clone(),
    }
}

impl<I> Process<I> {
    /// The same process with other disks.
    pub fn with_images<J>(self, around: impl FnOnce(I) -> J) -> Process<J> {
        Process {
            images: around(self.images),
            guest: self.guest,
            identity: self.identity,
            xen: self.xen,
            reactor: self.reactor,
            connection: self.connection,
            stats: self.stats,
            td3: self.td3,
            claim: self.claim,
        }
    }
}

impl<I: Images<Uring>> Process<I> {
    /// Serves by `serve`, and lets go of everything.
    pub fn run(
        self,
        serve: impl FnOnce(&mut Vm<Uring, I>, &mut Uring) -> Result<(), Ended>,
    ) -> Result<(), Failure> {
        let (domid, mut reactor) = (self.guest.domid, self.reactor);
        let stats = self.stats.page.clone();
        let mut vm = Vm::new(
            self.guest,
            self.xen,
            self.connection,
            self.images,
            stats,
            malloc::trim,
        );
        vm.show_as_tapdisk(self.td3);
        vm.start(&mut reactor);
        let served = serve(&mut vm, &mut reactor);
        vm.finish(&mut reactor);
        if served.is_ok() {
            // What it shows to others goes before the directory that has its marks.
            drop(vm);
        } else {
            // Whoever drops these waits for the disk, or for an image being opened, and nobody
            // could end that wait, for signals are blocked: the kernel takes them back, each page
            // when it is done with it.
            std::mem::forget(vm);
            reactor.abandon();
        }
        // In this order: whoever waits for the claim puts its own page where ours is.
        drop(self.stats);
        drop(self.claim);
        served.doing(|| format!("domain {domid}"))
    }
}

/// Steps the process until it is done, sleeping whenever there is nothing to do.
pub fn serve<I: Images<Uring>>(vm: &mut Vm<Uring, I>, reactor: &mut Uring) -> Result<(), Ended> {
    let mut completions = Vec::with_capacity(OPERATIONS);
    loop {
        let sleep = match vm.turn(reactor, &mut completions)? {
            Turn::Again => Sleep::No,
            Turn::Idle => Sleep::UntilWork,
            Turn::Done => return Ok(()),
        };
        reactor.wait(sleep, &mut completions);
    }
}

/// Tables with room for every file that a process may have.
fn tables() -> Config {
    Config {
        files: u32::try_from(STREAMS + DEVICES_MAX).unwrap_or(u32::MAX),
        ..Config::default()
    }
}

fn attach(platform: &PlatformArg, domid: DomId) -> Result<(Platform, Descriptors), Failure> {
    match platform {
        PlatformArg::Sim(dir) => {
            sim::live::backend(dir, domid).doing(|| format!("attach to domain {domid}"))
        }
        PlatformArg::Linux => xen::linux::backend(domid)
            .map_err(|error| Failure::new(Exit::NoPlatform, chain(&error))),
    }
}

fn listen(
    reactor: &mut Uring,
    descriptors: Descriptors,
    signals: std::os::fd::OwnedFd,
) -> Result<Connection, Failure> {
    let mut add = |fd| reactor.add_stream(fd).doing(|| "listen".into());
    let slots = Slots {
        events: add(descriptors.events)?,
        store: add(descriptors.store)?,
        signals: Some(add(signals)?),
    };
    let mut streams = Streams::new(slots).doing(|| "allocate buffers".into())?;
    streams.start(reactor);
    Ok(Connection {
        store: descriptors.client,
        streams,
    })
}

/// The stats page's file, removed when the process ends well. A guest that migrates to its own host
/// has two processes for a while; the newer one's page is the one that is seen.
pub struct StatsFile {
    page: telemetry::Page,
    path: PathBuf,
    inode: u64,
}

impl StatsFile {
    fn create(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join(stats::FILE);
        let what = || format!("create stats page {}", path.display());
        let new = dir.join(format!("{}-{}", stats::FILE, std::process::id()));
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(true);
        let file = options.mode(0o644).open(&new).doing(what)?;
        let page = telemetry::Page::create(&file, 1 + DEVICES_MAX).doing(what)?;
        let inode = file.metadata().doing(what)?.ino();
        // In place of an earlier process's page, which its readers keep.
        fs::rename(&new, &path).doing(what)?;
        Ok(Self { page, path, inode })
    }
}

impl Drop for StatsFile {
    fn drop(&mut self) {
        let is_ours = |metadata: fs::Metadata| metadata.ino() == self.inode;
        if !fs::metadata(&self.path).is_ok_and(is_ours) {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!("remove {}: {error}", self.path.display());
        }
    }
}

/// Images from the broker, as disks on the process's io_uring.
pub struct LiveImages {
    broker: Broker,
    bell: Slot,
    pool: Pool,
    /// A read of the bell is under way: exactly while answers are outstanding.
    listening: bool,
}

impl LiveImages {
    /// A broker whose bell `reactor` hears, and that asks the host daemon at `daemon`, if any.
    pub fn new(
        reactor: &mut Uring,
        siblings: Siblings,
        daemon: Option<&Path>,
    ) -> Result<Self, Failure> {
        let what = || "start the image broker".to_owned();
        let (broker, heard) = Broker::new(siblings, daemon).doing(what)?;
        let bell = reactor.add_stream(heard.into()).doing(what)?;
        let pool = Pool::new(1, 8).doing(what)?;
        Ok(Self {
            broker,
            bell,
            pool,
            listening: false,
        })
    }

    fn listen(&mut self, reactor: &mut Uring) {
        if let (false, true, Some(lease)) =
            (self.listening, self.broker.pending() > 0, self.pool.lease())
        {
            self.listening = true;
            reactor.submit(Submission {
                slot: self.bell,
                verb: Verb::Receive,
                offset: 0,
                lease: Some(lease),
                range: 0..8,
                token: Token {
                    owner: OWNER_IMAGES,
                    layer: 0,
                    tag: 0,
                },
            });
        }
    }
}

impl Images<Uring> for LiveImages {
    fn open(&mut self, reactor: &mut Uring, image: Image) {
        self.broker.open(image);
        self.listen(reactor);
    }

    fn complete(&mut self, _reactor: &mut Uring, completion: Completion) {
        if let Outcome::Io { lease, .. } = completion.outcome {
            drop(lease);
            self.listening = false;
            // A page for a bell that seldom rings.
            self.pool.cool();
        }
    }

    fn opened(&mut self, reactor: &mut Uring) -> Option<Opened> {
        let Some((owner, found)) = self.broker.answer() else {
            // The bell may have rung for one answer of several.
            self.listen(reactor);
            return None;
        };
        let medium = |found| match found {
            Found::Locked(prepared) => disk(reactor, owner, prepared).map(Medium::Disk),
            Found::Promised(geometry) => Ok(Medium::Promised(geometry)),
        };
        Some((owner, found.and_then(medium)))
    }

    fn pending(&self) -> usize {
        self.broker.pending()
    }
}

fn disk(
    reactor: &mut Uring,
    owner: u16,
    prepared: Prepared,
) -> Result<Box<dyn disk::Disk>, Refusal> {
    let added = match prepared.cached {
        true => reactor.add_cached_image(prepared.fd),
        false => reactor.add_image(prepared.fd),
    };
    let slot = added.map_err(|error| Refusal::new(Refusal::ENOMEM, &error))?;
    Ok(Box::new(Raw::new(slot, prepared.geometry, owner)))
}
