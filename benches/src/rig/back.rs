//! The backend's end of a rig: the loop of a VM process over its own io_uring.
//!
//! Knows no request. Invariant: after [`Back::step`] and [`Back::wake`] the loop would sleep.

use std::path::Path;

use abi::{DomId, PAGE_SIZE, Sector};
use blkback::{Medium, Refusal};
use disk::{Disk, Geometry, Null, Op, OpKind, Ram};
use halcyon::broker::Image;
use halcyon::cli::args::KindArg;
use halcyon::error::{Doing as _, Failure};
use halcyon::vm::streams::{Slots, Streams};
use halcyon::vm::{Connection, Guest, Images, Opened, Turn, Vm, counters};
use reactor::live::{Config, Uring};
use reactor::{Completion, Pool, Reactor, Sleep};
use telemetry::{BlockSnapshot, Page, Snapshot};

/// Capacity of the disks: fits no cache of today.
const DISK_BYTES: u64 = 256 << 20;

/// What stands in for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Reads zeroes, forgets writes.
    Null,
    /// Memory of the VM process.
    Ram,
}

/// See the head of this file.
pub struct Back {
    vm: Vm<Uring, Memory>,
    reactor: Uring,
    completions: Vec<Completion>,
    stats: Page,
}

impl Back {
    /// Attaches to the host in `dir` and begins to serve `domid`.
    pub fn new(dir: &Path, domid: DomId, backing: Backing) -> Result<Self, Failure> {
        let what = || format!("serve domain {domid}");
        let (platform, descriptors) = sim::live::backend(dir, domid).doing(what)?;
        let mut reactor = Uring::new(Config::default()).doing(what)?;
        let slots = Slots {
            events: reactor.add_stream(descriptors.events).doing(what)?,
            store: reactor.add_stream(descriptors.store).doing(what)?,
            signals: None,
        };
        let mut streams = Streams::new(slots).doing(what)?;
        streams.start(&mut reactor);
        let connection = Connection {
            store: xenstore::Client::new(),
            streams,
        };
        let stats = Page::anonymous(2).doing(what)?;
        let guest = Guest {
            domid,
            kinds: vec![KindArg::Vbd3],
        };
        let images = Memory {
            backing,
            opened: Vec::new(),
        };
        let mut vm = Vm::new(guest, platform, connection, images, stats.clone(), || {});
        vm.start(&mut reactor);
        Ok(Self {
            vm,
            reactor,
            completions: Vec::with_capacity(64),
            stats,
        })
    }

    /// Does all there is to do, without sleeping.
    pub fn step(&mut self) -> Result<(), Failure> {
        self.run(Sleep::No).map(drop)
    }

    /// Sleeps until there is something to do, and does all of it.
    pub fn wake(&mut self) -> Result<(), Failure> {
        self.run(Sleep::UntilWork).map(drop)
    }

    /// Serves until the guest is gone.
    pub fn serve(&mut self) -> Result<(), Failure> {
        while self.run(Sleep::UntilWork)? != Turn::Done {}
        Ok(())
    }

    /// From one rest to the next.
    fn run(&mut self, mut sleep: Sleep) -> Result<Turn, Failure> {
        loop {
            self.reactor.wait(sleep, &mut self.completions);
            let turn = self.vm.turn(&mut self.reactor, &mut self.completions);
            match turn.doing(|| "serve".into())? {
                Turn::Again => sleep = Sleep::No,
                rest => return Ok(rest),
            }
        }
    }

    /// What the process has counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::of(&self.stats)
    }
}

/// Counters of a VM process with one device.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// System calls of all kinds.
    pub system_calls: u64,
    /// Steps of the loop.
    pub turns: u64,
    /// Requests served.
    pub requests: u64,
    /// Times that requests were found.
    pub batches: u64,
    /// Events received.
    pub kicks: u64,
    /// Events sent.
    pub notifies: u64,
}

impl Stats {
    fn of(page: &Page) -> Self {
        let snapshot = Snapshot::parse(&page.bytes()).unwrap_or_default();
        let (vm, device): (Vec<_>, Vec<_>) = snapshot
            .blocks
            .iter()
            .partition(|block| block.name == counters::BLOCK);
        let sum = |blocks: &[&BlockSnapshot], name: &str| -> u64 {
            blocks.iter().filter_map(|block| block.counter(name)).sum()
        };
        Self {
            system_calls: sum(&vm, counters::SYSTEM_CALLS),
            turns: sum(&vm, "turns"),
            requests: sum(&device, "reads") + sum(&device, "writes"),
            batches: sum(&device, "batches"),
            kicks: sum(&device, "kicks"),
            notifies: sum(&device, "notifies"),
        }
    }

    /// What was added since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            system_calls: self.system_calls - earlier.system_calls,
            turns: self.turns - earlier.turns,
            requests: self.requests - earlier.requests,
            batches: self.batches - earlier.batches,
            kicks: self.kicks - earlier.kicks,
            notifies: self.notifies - earlier.notifies,
        }
    }
}

/// Writes to all of a disk, so that no measurement pays for the first touch of a page.
fn touch(disk: &mut Ram, reactor: &mut Uring) {
    let page = Pool::new(1, PAGE_SIZE).expect("a page of memory");
    for at in (0..DISK_BYTES).step_by(PAGE_SIZE) {
        let sector = Sector(at / 512);
        let (kind, lease) = (OpKind::Write, page.lease());
        let op = Op {
            id: 0,
            kind,
            sector,
            len_bytes: PAGE_SIZE,
            lease,
        };
        let done = disk
            .submit(reactor, op)
            .done()
            .expect("memory answers at once");
        done.result.expect("a write within the disk");
    }
}

/// Opens a disk without storage, whatever it is asked for.
struct Memory {
    backing: Backing,
    opened: Vec<Opened>,
}

impl Images<Uring> for Memory {
    fn open(&mut self, reactor: &mut Uring, image: Image) {
        let geometry = Geometry::of_sectors(Sector(DISK_BYTES / 512));
        let disk: Result<Box<dyn Disk>, Refusal> = match self.backing {
            Backing::Null => Ok(Box::new(Null::new(geometry))),
            Backing::Ram => match Ram::new(geometry) {
                Some(mut ram) => {
                    touch(&mut ram, reactor);
                    Ok(Box::new(ram))
                }
                None => {
                    let text = "a disk larger than memory".to_owned();
                    Err(Refusal {
                        errno: Refusal::ENOMEM,
                        text,
                    })
                }
            },
        };
        self.opened.push((image.owner, disk.map(Medium::Disk)));
    }

    fn complete(&mut self, _reactor: &mut Uring, _completion: Completion) {}

    fn opened(&mut self, _reactor: &mut Uring) -> Option<Opened> {
        self.opened.pop()
    }

    fn pending(&self) -> usize {
        self.opened.len()
    }
}
