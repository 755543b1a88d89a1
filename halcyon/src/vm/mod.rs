//! The process of one guest: a loop that hands every event to the device it concerns.
//!
//! ```text
//!   xenstore ─► streams ─► tree ───► devices appear, are poked, are gone
//!   events   ─► streams ─► ports ──► kicked ─┐
//!   reactor  ─► owner number ──────► completion ─► turn ─► asks ─► images (the broker)
//! ```
//!
//! [`Vm`] is everything but the sleeping: it is stepped, by [`live`] on a kernel or by a simulated
//! world, and is given its platform, its reactor and its source of images as arguments. It knows
//! nothing of blocks, sectors or paths.
//!
//! Invariant: when [`Vm::turn`] says [`Turn::Idle`], nothing will happen before a completion does.

use abi::{DomId, Port};
use blkback::{Device, Medium, Refusal};
use reactor::{Completion, Reactor};
use xen::Platform;
use xenstore::{BatchId, Client, Step};

use crate::broker::Image;
use crate::cli::args::KindArg;
use cooling::Cooling;
use counters::Counters;
use devices::Devices;
use streams::Streams;
use tree::Tree;
use unserved::Unserved;

mod answers;
pub mod claim;
mod cooling;
pub mod counters;
pub mod devices;
mod dispatch;
pub mod identity;
pub mod live;
pub mod streams;
pub mod td3;
pub mod tree;
mod unserved;

/// The owner number of whatever opens images.
pub const OWNER_IMAGES: u16 = 1;

/// Where images come from. The process asks and goes on; the answer comes later.
pub trait Images<R: Reactor> {
    /// Starts to open an image.
    fn open(&mut self, reactor: &mut R, image: Image);

    /// Takes a completion of [`OWNER_IMAGES`].
    fn complete(&mut self, reactor: &mut R, completion: Completion);

    /// The next answer, if one is there.
    fn opened(&mut self, reactor: &mut R) -> Option<Opened>;

    /// Images asked for and not yet answered.
    fn pending(&self) -> usize;
}

/// An answer: for which owner, and its disk, or what is promised of it, or one line why there is
/// none.
pub type Opened = (u16, Result<Medium, Refusal>);

/// Whom a process serves.
#[derive(Clone, Debug)]
pub struct Guest {
    /// The guest.
    pub domid: DomId,
    /// The kinds of its devices that are ours.
    pub kinds: Vec<KindArg>,
}

/// What a turn leaves.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Call again before sleeping.
    Again,
    /// Nothing left; a completion will bring more.
    Idle,
    /// The process has nothing more to do.
    Done,
}

/// Why the loop cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The xenstore connection is closed.
    #[error("xenstore closed the connection: start again once it is back")]
    StoreGone,
    /// Xenstore says what makes no sense.
    #[error("xenstore connection")]
    StoreCorrupt(#[source] xenstore::Corrupt),
    /// No events any more.
    #[error("event channel descriptor closed")]
    EventsGone,
    /// No signals any more.
    #[error("signal descriptor closed")]
    SignalsGone,
    /// The watches were refused.
    #[error("watch of the guest's devices in xenstore")]
    Watch(#[source] xenstore::StoreError),
    /// Nobody could be told that we serve.
    #[error("announcement in xenstore")]
    Announce(#[source] xenstore::StoreError),
    /// Somebody insisted.
    #[error(
        "stopped for the second time, with {requests} requests still in the disk and {images} \
         images being opened"
    )]
    Abandoned {
        /// Requests that nobody will answer.
        requests: usize,
        /// Images that nobody will have.
        images: usize,
    },
}

/// How far the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Every device is closing, and then the process ends.
    Closing,
}

/// See the head of this file.
pub struct Vm<R: Reactor, I: Images<R>> {
    platform: Platform,
    store: Client,
    streams: Streams,
    tree: Tree,
    devices: Devices,
    images: I,
    guest: Guest,
    counters: Counters,
    stats: telemetry::Page,
    td3: Option<td3::Directory>,
    ports: Vec<Port>,
    /// Batches of the loop itself; those of devices are asked of the devices.
    questions: Vec<(BatchId, Question)>,
    /// How many of them in a row xenstore could not answer.
    unanswered: u32,
    /// What xenstore is to say once the guest is served.
    announcement: Vec<Step>,
    /// What is told of, where a device model is announced.
    unserved: Option<Unserved>,
    phase: Phase,
    /// The watches are set, and nobody has been told that the guest is served.
    is_starting: bool,
    is_gone: bool,
    is_stopping: bool,
    /// It was stopped by hand.
    by_hand: bool,
    cooling: Cooling,
    /// Told of each cool-down.
    cooled: fn(),
    reactor: std::marker::PhantomData<fn(&mut R)>,
}

/// A xenstore client and the streams that carry it, listening.
#[derive(Debug)]
pub struct Connection {
    /// What is said.
    pub store: Client,
    /// How it travels.
    pub streams: Streams,
}

/// What the loop asked xenstore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Watches,
    Announcement,
    Listing(KindArg),
    /// Which devices there are of this kind of those that nobody serves.
    Unserved(usize),
    /// Nothing: what becomes of it changes nothing.
    Aside,
    /// Nothing either, but the process does not end before it is answered.
    Farewell,
    Alive,
}

impl<R: Reactor, I: Images<R>> Vm<R, I> {
    /// A process that serves `guest` over a `connection` that listens, and counts into `stats`.
    /// `cooled` is called after each cool-down.
    pub fn new(
        guest: Guest,
        platform: Platform,
        connection: Connection,
        images: I,
        stats: telemetry::Page,
        cooled: fn(),
    ) -> Self {
        Self {
            store: connection.store,
            streams: connection.streams,
            tree: Tree::new(platform.domid, guest.domid, &guest.kinds),
            devices: Devices::default(),
            counters: Counters::new(&stats),
            ports: Vec::with_capacity(64),
            questions: Vec::new(),
            unanswered: 0,
            announcement: Vec::new(),
            unserved: None,
            phase: Phase::Serving,
            is_starting: false,
            is_gone: false,
            is_stopping: false,
            by_hand: false,
            cooling: Cooling::default(),
            cooled,
            reactor: std::marker::PhantomData,
            td3: None,
            platform,
            images,
            guest,
            stats,
        }
    }

    /// Shows the counters of `vbd3` devices as tapdisk does; before [`Vm::start`].
    pub fn show_as_tapdisk(&mut self, td3: td3::Directory) {
        self.td3 = Some(td3);
    }

    /// Asks xenstore for the devices.
    pub fn start(&mut self, reactor: &mut R) {
        let watches = self.tree.watches();
        self.ask(watches, Question::Watches);
        self.streams.send(reactor, &mut self.store);
    }

    /// Has xenstore say so, by these steps at once, when no new device can be missed any more;
    /// unless what they expect is not so, for then nobody waits for it. From then on the devices
    /// are told of that a device model would serve and we do not. Called before the first turn.
    pub fn announce(&mut self, steps: Vec<Step>) {
        self.announcement = steps;
        self.unserved = Some(Unserved::new(self.platform.domid, self.guest.domid));
    }

    /// One step: takes what has ended, lets every device that has work take a turn. Never sleeps.
    pub fn turn(
        &mut self,
        reactor: &mut R,
        completions: &mut Vec<Completion>,
    ) -> Result<Turn, Ended> {
        for completion in completions.drain(..) {
            self.complete(reactor, completion)?;
        }
        self.opened(reactor);
        self.device_turns(reactor);
        // A device may have had its answer within its own call: a closed connection, say.
        self.store_events(reactor)?;
        self.serve_if_ready();
        self.streams.send(reactor, &mut self.store);
        self.cool_down(reactor);
        self.count(reactor);
        Ok(match self.devices.iter().any(|entry| entry.runnable) {
            true => Turn::Again,
            false if self.is_done() => Turn::Done,
            false => Turn::Idle,
        })
    }

    /// Closes every device; the process is done when the last request has come back. Asked for
    /// once more, as toolstacks do, it goes on with that.
    pub fn stop(&mut self, reactor: &mut R) {
        if !std::mem::replace(&mut self.is_stopping, true) {
            self.end_all(reactor, Device::close);
        }
    }

    /// As [`Vm::stop`], by somebody's hand. Whoever asks for it in this way once more has the process
    /// end without what its disks still have, for a disk that hangs may never give it back.
    pub fn stop_by_hand(&mut self, reactor: &mut R) -> Result<(), Ended> {
        let insists = std::mem::replace(&mut self.by_hand, true);
        self.stop(reactor);
        let devices = self.devices.iter();
        let requests = devices.map(|entry| entry.device.in_disk()).sum();
        let images = self.images.pending();
        if requests + images == 0 {
            return Ok(());
        }
        if insists {
            return Err(Ended::Abandoned { requests, images });
        }
        tracing::info!(
            "stopping: {requests} requests are in the disk, {images} images are being opened; \
             another SIGTERM or SIGINT abandons them"
        );
        Ok(())
    }

    /// Lets go of the streams. The platform goes when the value is dropped.
    pub fn finish(&mut self, reactor: &mut R) {
        // The files of disks that are left, before their directory.
        for entry in self.devices.iter_mut() {
            entry.td3 = None;
        }
        self.td3 = None;
        self.streams.close(reactor);
    }

    /// The devices, for tests and leak checks.
    pub fn devices(&self) -> &Devices {
        &self.devices
    }

    fn is_done(&self) -> bool {
        let mut questions = self.questions.iter();
        self.phase == Phase::Closing
            && self.devices.is_empty()
            && self.images.pending() == 0
            && !questions.any(|(_, question)| *question == Question::Farewell)
    }

    /// Gives back what only a busy process needs, where it is time for that.
    fn cool_down(&mut self, reactor: &mut R) {
        let is_cool = self.devices.iter().all(|entry| entry.device.is_cool());
        if self.cooling.turn(reactor, is_cool) {
            (self.cooled)();
        }
    }

    fn count(&mut self, reactor: &mut R) {
        let calls = reactor.system_calls()
            + self.platform.grants.system_calls()
            + self.platform.events.system_calls();
        self.counters.turns.add(1);
        self.counters.system_calls.set(calls);
    }
}
