//! One virtual block device, as the loop of a VM process drives it.
//!
//! The loop tells a device what happened; after any of these calls it takes the device's
//! [`Device::ask`]s and gives it [`Device::turn`]s until it is idle. What a device decides is in
//! `connect`, what it does with requests in `worker`.
//!
//! Invariant: at most one store batch is under way, so that what was decided on is still true when
//! it is written, and whatever happens meanwhile costs one more look.

use std::fmt;

use abi::io::xenbus::XenbusState;
use abi::{DomId, Port};
use disk::{Disk, Geometry};
use reactor::{Completion, Reactor};
use xen::Platform;
use xenstore::{BadPath, Batch, BatchId, Client, Reply, StoreError};

use crate::config::{Description, Invalid, Mode};
use crate::report::Refusal;
use crate::stats::{Counts, Stats};
use crate::store::Nodes;
use crate::worker::{Hands, Turn, Worker};

/// Names a device: `<kind>/<domid>/<devid>`, as below the backend domain's `backend` node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeviceId {
    /// `vbd3`, `qdisk` or `vbd`.
    pub kind: String,
    /// The guest.
    pub domid: DomId,
    /// The device number, such as 51712 for xvda.
    pub devid: u32,
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.domid, self.devid)
    }
}

/// What a device is lent for the length of one call.
pub struct Context<'a> {
    /// Grants and event channels.
    pub platform: &'a mut Platform,
    /// Where its disk submits, and its clock.
    pub reactor: &'a mut dyn Reactor,
    /// Where its batches go.
    pub store: &'a mut Client,
}

/// What a device wants its owner to do, because it may not do so itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Open the image, then call [`Device::opened`].
    OpenImage {
        /// The toolstack's words: a path, or `format:path`.
        params: String,
        /// Whether the guest may write.
        mode: Mode,
        /// When its lock is needed.
        lock_by: LockBy,
    },
}

/// When a device needs the lock of its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockBy {
    /// Once the frontend connects: where a process that serves another domain of the same VM still
    /// has it, [`Medium::Promised`] will do.
    Connect,
    /// The frontend is there: wait for it.
    Now,
}

/// What an [`Ask::OpenImage`] brought.
pub enum Medium {
    /// The image, locked.
    Disk(Box<dyn Disk>),
    /// What its disk will say of itself. Its lock is still another domain's, of the same VM: that
    /// one reboots or migrates away, and passes it on.
    Promised(Geometry),
}

/// See the head of this file.
pub struct Device {
    // configuration
    pub(crate) id: DeviceId,
    pub(crate) owner: u16,
    pub(crate) nodes: Nodes,
    pub(crate) description: Option<Result<Description, Invalid>>,
    // wiring
    pub(crate) disk: Option<Box<dyn Disk>>,
    /// In its place, as long as its lock is another domain's.
    pub(crate) promised: Option<Geometry>,
    pub(crate) worker: Option<Worker>,
    // state
    pub(crate) under_way: Option<(BatchId, Sent)>,
    /// Something may have changed since the last look.
    pub(crate) dirty: bool,
    /// Not all of its watches are set.
    pub(crate) deaf: bool,
    /// Our state as last read or written.
    pub(crate) ours: XenbusState,
    pub(crate) asked: Option<Ask>,
    /// An image is being opened for us.
    pub(crate) opening: bool,
    /// A refusal that is not yet in the store.
    pub(crate) refusal: Option<Refusal>,
    /// The refusal that the batch under way writes.
    pub(crate) publishing: Option<Refusal>,
    /// How many times in a row the store could not say how things are.
    pub(crate) unread: u32,
    /// The handshake wants us detached; holds until Closed is published.
    pub(crate) detaching: bool,
    /// Our directory is gone; what stands there now belongs to another device.
    pub(crate) removed: bool,
    /// The device was found connected to a process that is gone.
    pub(crate) orphaned: bool,
    /// The operator knows that.
    pub(crate) told: bool,
    /// The operator knows how many requests are waited for.
    pub(crate) said: bool,
    /// The owner, or the guest's death, wants the device to end.
    pub(crate) leaving: bool,
    pub(crate) finished: bool,
    // stats
    pub(crate) stats: Stats,
}

/// What the batch under way is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Introduce,
    Watch,
    Look { offer: bool },
    Switch(XenbusState),
    Report,
    Unwatch,
}

impl Device {
    /// A device that has not looked at its nodes yet; [`Device::poke`] starts it. `backend_domid`
    /// is the domain of this process ([`Platform::domid`]); `owner` marks this device's tokens and,
    /// in decimal, all of its watches.
    pub fn new(
        id: DeviceId,
        backend_domid: DomId,
        owner: u16,
        stats: telemetry::Builder,
    ) -> Result<Self, BadPath> {
        Ok(Self {
            nodes: Nodes::new(&id, backend_domid, owner)?,
            stats: Stats::new(id.to_string(), stats),
            id,
            owner,
            description: None,
            disk: None,
            promised: None,
            worker: None,
            under_way: None,
            dirty: false,
            deaf: false,
            ours: XenbusState::UNKNOWN,
            asked: None,
            opening: false,
            refusal: None,
            publishing: None,
            unread: 0,
            detaching: false,
            removed: false,
            orphaned: false,
            told: false,
            said: false,
            leaving: false,
            finished: false,
        })
    }

    /// From now on, tells whoever looks that the process `pid` serves this device, as `kthread-pid`
    /// beside Connected: there libxenstat and XAPI look for whose counters to read.
    pub fn served_by(&mut self, pid: u32) {
        self.nodes.served_by(pid);
    }

    /// Which device this is.
    pub fn id(&self) -> &DeviceId {
        &self.id
    }

    /// What the device is made of, in the toolstack's words, once it has been read and made sense.
    #[must_use]
    pub fn description(&self) -> Option<&Description> {
        self.description.as_ref()?.as_ref().ok()
    }

    /// What it has served so far: a few loads, no system call.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.stats.counts()
    }

    /// Something in the store may have changed: an event of one of this device's watches, or the
    /// start. Cheap to call too often.
    pub fn poke(&mut self, cx: &mut Context<'_>) {
        self.dirty = true;
        self.step(cx);
    }

    /// Whether the device knows what it is made of, and watches its nodes itself. One that does
    /// not is to be poked when anything in its directory changes.
    pub fn is_introduced(&self) -> bool {
        self.description.is_some() && !self.deaf
    }

    /// Whether a batch is this device's.
    pub fn awaits(&self, batch: BatchId) -> bool {
        self.under_way
            .is_some_and(|(under_way, _)| under_way == batch)
    }

    /// Answers to a batch; those to batches of others are ignored.
    pub fn replies(
        &mut self,
        cx: &mut Context<'_>,
        batch: BatchId,
        replies: &[Result<Reply, StoreError>],
    ) {
        if let Some((_, sent)) = self.under_way.take_if(|(under_way, _)| *under_way == batch) {
            self.answered(cx, sent, replies);
            self.step(cx);
        }
    }

    /// What the device wants of its owner; ask until there is nothing more.
    pub fn ask(&mut self) -> Option<Ask> {
        self.asked.take()
    }

    /// The end of an [`Ask::OpenImage`].
    pub fn opened(&mut self, cx: &mut Context<'_>, image: Result<Medium, Refusal>) {
        self.opening = false;
        match image.and_then(|medium| self.judged(cx, medium)) {
            Ok(Medium::Disk(mut disk)) if self.leaving || self.finished => disk.close(cx.reactor),
            Ok(Medium::Disk(disk)) => {
                self.promised = None;
                self.disk = Some(disk);
            }
            Ok(Medium::Promised(geometry)) => self.promised = Some(geometry),
            Err(refusal) => self.refuse(cx, refusal),
        }
        self.poke(cx);
    }

    /// The medium, if a guest may be given it; it is closed if not.
    fn judged(&self, cx: &mut Context<'_>, medium: Medium) -> Result<Medium, Refusal> {
        let geometry = match &medium {
            Medium::Disk(disk) => disk.geometry(),
            Medium::Promised(geometry) => *geometry,
        };
        let admitted = self.description().map(|it| it.admits(&geometry));
        match (admitted, medium) {
            (Some(Err(refusal)), Medium::Disk(mut disk)) => {
                disk.close(cx.reactor);
                Err(refusal)
            }
            (Some(Err(refusal)), Medium::Promised(_)) => Err(refusal),
            (_, medium) => Ok(medium),
        }
    }

    /// Our port of the event channel while connected, for routing events to [`Device::kicked`].
    pub fn port(&self) -> Option<Port> {
        self.worker.as_ref().and_then(Worker::port)
    }

    /// An event arrived on [`Device::port`].
    pub fn kicked(&mut self) {
        self.stats.kicked();
        if let Some(worker) = &mut self.worker {
            worker.kicked();
        }
    }

    /// A completion whose token names this device.
    pub fn completion(&mut self, cx: &mut Context<'_>, completion: Completion) {
        if let Some((worker, mut hands)) = self.at_work(cx) {
            worker.completion(&mut hands, completion);
            self.landed(cx);
        } else if let Some(disk) = &mut self.disk {
            // Nothing is in flight, but a disk may have business of its own.
            let done = disk.complete(cx.reactor, completion);
            debug_assert!(done.is_none(), "an operation that nobody submitted");
        }
    }

    /// One bounded turn of the data path. A ring that makes no sense closes this device only.
    pub fn turn(&mut self, cx: &mut Context<'_>) -> Turn {
        let Some((worker, mut hands)) = self.at_work(cx) else {
            return Turn::Idle;
        };
        match worker.turn(&mut hands) {
            Ok(turn) => {
                self.landed(cx);
                turn
            }
            Err(corrupt) => {
                self.corrupt(cx, corrupt);
                Turn::Idle
            }
        }
    }

    /// Ends the device: takes no new request, answers those in flight as they land, detaches,
    /// publishes Closed and lets go of the disk. Returns how many requests are still in the disk;
    /// [`Device::is_finished`] says when all is done.
    pub fn close(&mut self, cx: &mut Context<'_>) -> usize {
        self.leaving = true;
        if let Some(worker) = &mut self.worker {
            worker.stop();
        }
        self.say_what_is_in_the_disk(cx);
        self.poke(cx);
        self.in_disk()
    }

    /// The guest is gone for good: as [`Device::close`], but nobody is left to be answered, so the
    /// ring and the port are given back at once.
    pub fn vanished(&mut self, cx: &mut Context<'_>) -> usize {
        self.cut(cx);
        self.close(cx)
    }

    /// Requests that the disk has not given back.
    pub fn in_disk(&self) -> usize {
        self.worker.as_ref().map_or(0, Worker::in_disk)
    }

    /// Whether the device, once poked, has done all that it can by itself and waits for others: a
    /// new one has published InitWait, or why it is not served. A guest must not be let go before:
    /// some frontends look at its state once and give up (GRUB's, for a PV guest's root).
    pub fn is_at_rest(&self) -> bool {
        self.under_way.is_none() && !self.dirty && !self.opening
    }

    /// Whether no cool-down is due; once all devices are cool, the reactor may be.
    pub fn is_cool(&self) -> bool {
        self.worker.as_ref().is_none_or(Worker::is_cool)
    }

    /// Whether a ring is attached.
    pub fn is_connected(&self) -> bool {
        self.port().is_some()
    }

    /// Whether the device has come to its end and only takes its watches back. Nodes that appear
    /// in its place from now on are those of another device, and so are those that stood there
    /// when it was found to be removed.
    pub fn is_ending(&self) -> bool {
        self.finished || matches!(self.under_way, Some((_, Sent::Unwatch)))
    }

    /// Whether the toolstack took the device's directory away before it was closed.
    pub fn was_removed(&self) -> bool {
        self.removed
    }

    /// Whether the device is over and holds nothing any more: drop it.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Continues with the store, unless it owes an answer.
    fn step(&mut self, cx: &mut Context<'_>) {
        let waits = self.under_way.is_some() || self.finished;
        if waits || !std::mem::take(&mut self.dirty) {
            return;
        }
        if self.description.is_none() {
            self.submit(cx, Sent::Introduce, self.nodes.introduce());
        } else {
            let offer = self.ours == XenbusState::INIT_WAIT;
            self.submit(cx, Sent::Look { offer }, self.nodes.look(offer));
        }
    }

    pub(crate) fn submit(&mut self, cx: &mut Context<'_>, sent: Sent, batch: Batch) {
        debug_assert!(self.under_way.is_none(), "one batch at a time");
        self.under_way = Some((cx.store.submit(batch), sent));
    }

    /// The worker, and all it works with; a worker never exists without a disk.
    pub(crate) fn at_work<'a>(
        &'a mut self,
        cx: &'a mut Context<'_>,
    ) -> Option<(&'a mut Worker, Hands<'a>)> {
        let hands = Hands {
            grants: cx.platform.grants.as_mut(),
            events: cx.platform.events.as_mut(),
            reactor: cx.reactor,
            disk: self.disk.as_mut()?.as_mut(),
            stats: &mut self.stats,
        };
        Some((self.worker.as_mut()?, hands))
    }
}
