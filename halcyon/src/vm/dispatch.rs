//! From what happened to the device it concerns: xenstore's events, completions, images.
//!
//! Every call into a device goes through [`Vm::with`], which lends it the platform, the reactor and
//! the store, and notes that it may have work now. Invariant: a device that was called into gets a
//! turn before the loop sleeps.

use blkback::{Ask, Context, Device, DeviceId, Medium, Mode};
use reactor::{Completion, Reactor};
use xenstore::{Batch, BatchId, Event, Reply, Step, StoreError};

use super::answers;
use super::devices::Entry;
use super::streams::{self, By, Heard};
use super::tree::{self, About, TOKEN_GONE, TOKEN_TREE};
use super::{Ended, Images, OWNER_IMAGES, Phase, Question, Vm, unserved};
use crate::broker::Image;
use crate::cli::args::KindArg;

/// Answers to a batch, one for each step.
type Replies = Vec<Result<Reply, StoreError>>;

impl<R: Reactor, I: Images<R>> Vm<R, I> {
    /// Takes a completion to whom it belongs.
    pub(super) fn complete(
        &mut self,
        reactor: &mut R,
        completion: Completion,
    ) -> Result<(), Ended> {
        match completion.token.owner {
            streams::OWNER => return self.stream(reactor, completion),
            OWNER_IMAGES => self.images.complete(reactor, completion),
            owner => self.with(reactor, owner, |device, cx| {
                device.completion(cx, completion);
            }),
        }
        Ok(())
    }

    fn stream(&mut self, reactor: &mut R, completion: Completion) -> Result<(), Ended> {
        let events = &mut *self.platform.events;
        let (store, ports) = (&mut self.store, &mut self.ports);
        match self
            .streams
            .complete(reactor, store, events, ports, completion)?
        {
            Heard::Nothing => {}
            Heard::Store => self.store_events(reactor)?,
            Heard::Stop(By::Toolstack) => self.stop(reactor),
            Heard::Stop(By::Hand) => self.stop_by_hand(reactor)?,
            Heard::Events => self.kick(),
        }
        Ok(())
    }

    /// Tells the devices of the pending ports. A port of no device is one that was just closed.
    fn kick(&mut self) {
        for port in self.ports.drain(..) {
            self.counters.events.add(1);
            if let Some(entry) = self.devices.by_port(port) {
                entry.device.kicked();
                entry.runnable = true;
            }
        }
    }

    /// Asks xenstore something on behalf of the loop itself.
    pub(super) fn ask(&mut self, steps: Vec<Step>, question: Question) {
        self.ask_batch(Batch::new(steps), question);
    }

    /// As [`Vm::ask`], all at once or not at all, if the batch is so.
    pub(super) fn ask_batch(&mut self, batch: Batch, question: Question) {
        let batch = self.store.submit(batch);
        self.questions.push((batch, question));
    }

    /// Takes everything that xenstore has said.
    pub(super) fn store_events(&mut self, reactor: &mut R) -> Result<(), Ended> {
        while let Some(event) = self.store.next_event() {
            match event {
                Event::Watch { path, token } => match token.as_str() {
                    TOKEN_GONE => self.ask_whether_alive(),
                    TOKEN_TREE => self.tree_changed(reactor, self.tree.about(&path)),
                    unserved::TOKEN => self.unserved_changed(&path),
                    owner => self.device_changed(reactor, owner),
                },
                Event::Replies { batch, replies } => self.replies(reactor, batch, &replies)?,
            }
        }
        Ok(())
    }

    /// A device that is known watches its own nodes, once it could read what it is made of; one
    /// that is not known is looked for.
    fn tree_changed(&mut self, reactor: &mut R, about: About) {
        let kind = match about {
            About::Directory(kind) => kind,
            About::Device(kind, devid) => match self.known(kind, devid) {
                None => kind,
                Some(entry) => {
                    entry.succeeded |= entry.device.is_ending();
                    let (owner, waits) = (entry.owner, !entry.device.is_introduced());
                    if waits {
                        self.with(reactor, owner, Device::poke);
                    }
                    return;
                }
            },
            About::Nothing => return,
        };
        self.list(kind);
    }

    /// Asks which devices of a kind there are, unless the answer is on its way.
    fn list(&mut self, kind: KindArg) {
        let listed = self
            .questions
            .iter()
            .any(|(_, asked)| *asked == Question::Listing(kind));
        if let (Some(step), false) = (self.tree.listing(kind), listed) {
            self.ask(vec![step], Question::Listing(kind));
        }
    }

    fn known(&mut self, kind: KindArg, devid: u32) -> Option<&mut Entry> {
        self.devices.iter_mut().find(|entry| {
            let id = entry.device.id();
            id.devid == devid && id.kind == kind.name()
        })
    }

    fn device_changed(&mut self, reactor: &mut R, token: &str) {
        if let Ok(owner) = token.parse() {
            self.with(reactor, owner, Device::poke);
        }
    }

    fn ask_whether_alive(&mut self) {
        let steps = self.tree.whether_alive();
        self.ask(steps, Question::Alive);
    }

    fn replies(&mut self, reactor: &mut R, batch: BatchId, replies: &Replies) -> Result<(), Ended> {
        if let Some(at) = self.questions.iter().position(|(asked, _)| *asked == batch) {
            let (_, question) = self.questions.swap_remove(at);
            return self.answered(reactor, question, replies);
        }
        let whose = self.devices.iter().find(|entry| entry.device.awaits(batch));
        if let Some(owner) = whose.map(|entry| entry.owner) {
            self.with(reactor, owner, |device, cx| {
                device.replies(cx, batch, replies);
            });
        }
        Ok(())
    }

    fn answered(
        &mut self,
        reactor: &mut R,
        question: Question,
        replies: &Replies,
    ) -> Result<(), Ended> {
        match question {
            Question::Watches => {
                answers::watching(replies).map_err(Ended::Watch)?;
                self.is_starting = self.phase == Phase::Serving;
                for kind in self.guest.kinds.clone() {
                    self.list(kind);
                }
            }
            Question::Announcement => {
                if !answers::is_announced(replies).map_err(Ended::Announce)? {
                    let domid = self.guest.domid;
                    tracing::info!(
                        "domain {domid}: not announced, for nobody waits for it any more"
                    );
                    self.ask_whether_alive();
                }
            }
            Question::Listing(kind) => match answers::listing(replies) {
                Ok(names) => {
                    self.unanswered = 0;
                    self.listed(reactor, kind, names);
                }
                Err(error) => self.ask_again(question, error),
            },
            Question::Unserved(kind) => match answers::listing(replies) {
                Ok(names) => {
                    self.unanswered = 0;
                    self.tell_of_unserved(kind, names);
                }
                Err(error) => self.ask_again(question, error),
            },
            Question::Aside | Question::Farewell => {}
            Question::Alive => match answers::is_alive(replies) {
                Ok(is_alive) => {
                    self.unanswered = 0;
                    if !is_alive {
                        self.vanished(reactor);
                    }
                }
                Err(error) => self.ask_again(question, error),
            },
        }
        Ok(())
    }

    /// Says that the guest is served, once no device can be missed any more and each that was there
    /// has published InitWait, or why it is not served: some frontends look at its state once and
    /// give up (GRUB's).
    pub(super) fn serve_if_ready(&mut self) {
        self.is_starting &= self.phase == Phase::Serving;
        if !self.is_starting {
            return;
        }
        let listing = |(_, asked): &(_, Question)| matches!(asked, Question::Listing(_));
        let is_listing = self.questions.iter().any(listing);
        if is_listing || !self.devices.iter().all(|entry| entry.device.is_at_rest()) {
            return;
        }
        self.is_starting = false;
        tracing::info!("serving domain {}", self.guest.domid);
        let steps = std::mem::take(&mut self.announcement);
        if !steps.is_empty() {
            self.ask_batch(Batch::transaction(steps), Question::Announcement);
        }
        if let Some(unserved) = &self.unserved {
            self.ask(unserved.watches(), Question::Aside);
        }
    }

    /// Xenstore could not say: all stays as it is until it can.
    fn ask_again(&mut self, question: Question, error: StoreError) {
        self.unanswered = self.unanswered.saturating_add(1);
        if self.unanswered == 1 {
            let domid = self.guest.domid;
            tracing::error!("domain {domid}: asking xenstore, to be tried again: {error}");
        }
        if self.unanswered < answers::TRIES_MAX {
            match question {
                Question::Watches
                | Question::Announcement
                | Question::Aside
                | Question::Farewell => {}
                Question::Listing(kind) => self.list(kind),
                Question::Unserved(kind) => self.list_unserved(kind),
                Question::Alive => self.ask_whether_alive(),
            }
        }
    }

    fn listed(&mut self, reactor: &mut R, kind: KindArg, names: &[String]) {
        for devid in names.iter().filter_map(|name| tree::devid(name)) {
            if self.phase == Phase::Serving && self.known(kind, devid).is_none() {
                self.appeared(reactor, kind, devid);
            }
        }
    }

    /// Never part of a caller: room for a device on its way into the table would be part of every
    /// frame that a busy process keeps its stack for.
    #[inline(never)]
    fn appeared(&mut self, reactor: &mut R, kind: KindArg, devid: u32) {
        let id = DeviceId {
            kind: kind.name().to_owned(),
            domid: self.guest.domid,
            devid,
        };
        let name = id.to_string();
        let made = self
            .devices
            .next_owner()
            .zip(self.stats.block(&name))
            .map(|(owner, block)| (owner, Device::new(id, self.platform.domid, owner, block)));
        match made {
            Some((owner, Ok(device))) => {
                self.devices.add(owner, device);
                self.count_as_tapdisk(owner, kind);
                self.with(reactor, owner, Device::poke);
            }
            Some((_, Err(error))) => tracing::error!("{name}: {error}"),
            None => tracing::error!("{name}: more devices than one process serves; not served"),
        }
    }

    /// Shows the counters of a `vbd3` where those of tapdisk are looked for; a disk that they
    /// cannot be shown of is served all the same.
    fn count_as_tapdisk(&mut self, owner: u16, kind: KindArg) {
        let (Some(td3), KindArg::Vbd3) = (&self.td3, kind) else {
            return;
        };
        let Some(entry) = self.devices.by_owner(owner) else {
            return;
        };
        let id = entry.device.id();
        match td3.disk(id.domid, id.devid) {
            Ok(file) => {
                entry.td3 = Some(file);
                entry.device.served_by(std::process::id());
            }
            Err(error) => tracing::warn!("{id}: not shown in xentop: {error}"),
        }
    }

    /// The guest is gone for good.
    fn vanished(&mut self, reactor: &mut R) {
        if !self.is_gone {
            self.is_gone = true;
            tracing::info!("domain {} is gone", self.guest.domid);
            self.end_all(reactor, Device::vanished);
        }
    }

    /// Ends every device, one way or the other. The toolstack may end us before it ends the guest:
    /// libxl does so with a device model.
    pub(super) fn end_all(
        &mut self,
        reactor: &mut R,
        end: fn(&mut Device, &mut Context<'_>) -> usize,
    ) {
        self.phase = Phase::Closing;
        for owner in self.devices.owners() {
            self.with(reactor, owner, |device, cx| {
                end(device, cx);
            });
        }
        let reasons = self.tree.remove_reasons(self.platform.domid);
        self.ask(reasons, Question::Farewell);
    }

    /// Calls into a device, if it is still there.
    pub(super) fn with(
        &mut self,
        reactor: &mut R,
        owner: u16,
        call: impl FnOnce(&mut Device, &mut Context<'_>),
    ) {
        let Some(entry) = self.devices.by_owner(owner) else {
            return;
        };
        let mut cx = Context {
            platform: &mut self.platform,
            reactor,
            store: &mut self.store,
        };
        call(&mut entry.device, &mut cx);
        entry.runnable = true;
    }

    /// Gives every device that may have work one turn, and passes on what they ask.
    pub(super) fn device_turns(&mut self, reactor: &mut R) {
        for entry in self.devices.iter_mut().filter(|entry| entry.runnable) {
            let mut cx = Context {
                platform: &mut self.platform,
                reactor,
                store: &mut self.store,
            };
            entry.runnable = entry.device.turn(&mut cx) == blkback::Turn::Again;
            if let Some(td3) = &entry.td3 {
                td3.update(&entry.device.counts());
            }
            while let Some(ask) = entry.device.ask() {
                let Ask::OpenImage {
                    params,
                    mode,
                    lock_by,
                } = ask;
                let read_only = mode == Mode::ReadOnly;
                entry.opening = true;
                self.images.open(
                    reactor,
                    Image {
                        owner: entry.owner,
                        device: entry.device.id().clone(),
                        params,
                        read_only,
                        lock_by,
                    },
                );
            }
        }
        self.forget_finished();
    }

    /// Drops the devices that are over. Where nodes were written meanwhile, or stood in place of
    /// those that were removed, there may be a new device, of which nobody will tell again.
    ///
    /// Never part of a caller, as [`Vm::appeared`].
    #[inline(never)]
    fn forget_finished(&mut self) {
        while let Some(gone) = self.devices.take_finished() {
            let id = gone.device.id();
            let kind = self.guest.kinds.iter().find(|kind| kind.name() == id.kind);
            let succeeded = gone.succeeded || gone.device.was_removed();
            if let (Some(kind), true, Phase::Serving) = (kind, succeeded, self.phase) {
                self.list(*kind);
            }
        }
    }

    /// Hands the images that were opened to the devices that asked for them.
    pub(super) fn opened(&mut self, reactor: &mut R) {
        while let Some((owner, image)) = self.images.opened(reactor) {
            match (self.devices.image_came(owner), image) {
                (true, image) => self.with(reactor, owner, |device, cx| device.opened(cx, image)),
                (false, Ok(Medium::Disk(mut disk))) => disk.close(reactor),
                (false, Ok(Medium::Promised(_))) => {}
                (false, Err(refusal)) => {
                    tracing::error!("a device was withdrawn before this was said of it: {refusal}");
                }
            }
        }
    }
}
