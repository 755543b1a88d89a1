//! What a device decides: connect, disconnect, reconnect, end.
//!
//! Drives [`xenstore::xenbus`] with what the nodes say now and with what has become of the device;
//! events are hints to look, never facts. What it takes and gives back is in `attach`; the order at
//! the end is answers, ring and port, leases, disk, state, watches.
//!
//! Invariant: Closed is published only when nothing is in flight any more, no grant is mapped and
//! no port bound; and no ring is attached before that.

use abi::io::xenbus::XenbusState;
use disk::Geometry;
use xenstore::StoreError;
use xenstore::xenbus::{self, Action, Event};

use crate::device::{Ask, Context, Device, LockBy, Sent};
use crate::report::Refusal;
use crate::store::{Look, Nodes, Replies, readable};

/// Attempts in a row at reading nodes that cannot be read. After the last, the next one waits until
/// something changes: a store that is short of memory must not be asked for ever.
const READS_MAX: u32 = 8;

impl Device {
    /// A batch was answered.
    pub(crate) fn answered(&mut self, cx: &mut Context<'_>, sent: Sent, replies: &Replies) {
        match sent {
            Sent::Introduce => self.introduced(cx, replies),
            Sent::Watch => self.watched(cx, replies),
            Sent::Look { offer } => match self.nodes.looked(replies) {
                Ok(look) => {
                    self.unread = 0;
                    self.decide(cx, &look, offer);
                }
                Err(error) => self.look_again(error),
            },
            Sent::Switch(state) => self.switched(state, replies),
            Sent::Report => self.reported(replies),
            Sent::Unwatch => self.finished = true,
        }
    }

    /// The store could not say how things are: all stays as it is.
    fn look_again(&mut self, error: StoreError) {
        self.unread = self.unread.saturating_add(1);
        if self.unread == 1 {
            tracing::error!(device = %self.id, "reading its nodes, to be tried again: {error}");
        }
        self.dirty |= self.unread < READS_MAX;
    }

    fn introduced(&mut self, cx: &mut Context<'_>, replies: &Replies) {
        if let Err(error) = readable(replies) {
            return self.look_again(error);
        }
        self.unread = 0;
        if !Nodes::is_written(replies) {
            // Whoever writes on will be heard of as of something new.
            self.finished = !self.dirty;
            return;
        }
        tracing::info!("{}: appeared", self.id);
        let described = self.nodes.introduced(replies, self.id.domid);
        if let (Err(invalid), false) = (&described, self.nodes.knows_frontend()) {
            // Nobody will come to whom this could be said later.
            self.refuse(cx, (*invalid).into());
        }
        self.description = Some(described);
        self.submit(cx, Sent::Watch, self.nodes.watch());
    }

    /// A device that would not hear of its frontend, or of its end, is not started. That a watch is
    /// set already, from an earlier attempt, is no failure.
    fn watched(&mut self, cx: &mut Context<'_>, replies: &Replies) {
        let mut failed = replies.iter().filter_map(|reply| reply.as_ref().err());
        let error = failed.find(|error| **error != StoreError::Exists);
        self.deaf = error.is_some();
        self.dirty = true;
        if let Some(error) = error {
            let text = format!("watching its nodes: {error}");
            let errno = Refusal::EIO;
            self.refuse(cx, Refusal { errno, text });
        }
    }

    /// Acts on what was read. Everything that is not finished at once sets `dirty` when it is.
    fn decide(&mut self, cx: &mut Context<'_>, look: &Look, offered: bool) {
        self.notice_removal(look);
        let found = self.ours == XenbusState::UNKNOWN;
        self.orphaned = look.ours == XenbusState::CONNECTED && (found || self.orphaned);
        self.ours = look.ours;
        let seen = Seen {
            offered,
            ..self.seen(look)
        };
        if seen.ours == XenbusState::CLOSING {
            self.say_what_is_in_the_disk(cx);
        }
        if seen.ours == XenbusState::CLOSING
            && let Some(refusal) = self.refusal.take()
        {
            self.submit(cx, Sent::Report, self.nodes.report(&refusal));
            self.publishing = Some(refusal);
            return;
        }
        if self.detaching {
            return self.detach(cx, &seen);
        }
        self.notice_orphan(cx);
        if self.orphaned
            && let Some(refusal) = self.refusal.take()
        {
            self.submit(cx, Sent::Report, self.nodes.report(&refusal));
            self.publishing = Some(refusal);
            return;
        }
        if let (Some(refusal), XenbusState::INITIALISING, false) =
            (&self.refusal, seen.ours, look.released)
        {
            let announced = self.nodes.announce(refusal);
            return self.submit(cx, Sent::Switch(XenbusState::INIT_WAIT), announced);
        }
        let is_announced = seen.ours == XenbusState::INIT_WAIT && !look.released;
        if self.refusal.is_some() && !is_announced {
            let action = xenbus::next(seen.ours, seen.theirs, Event::Failed);
            if action != Action::Nothing {
                return self.act(cx, &seen, action);
            }
            self.refusal = None;
        }
        let event = Event::Changed {
            online: seen.online,
        };
        self.act(cx, &seen, xenbus::next(seen.ours, seen.theirs, event));
    }

    /// A device that ends takes its frontend for closing, and for closed once all is answered.
    fn seen<'a>(&self, look: &'a Look) -> Seen<'a> {
        let busy = self
            .worker
            .as_ref()
            .is_some_and(|worker| worker.in_flight() > 0);
        let theirs = match (self.leaving, busy) {
            (false, _) => look.theirs,
            (true, true) => XenbusState::CLOSING,
            (true, false) => XenbusState::CLOSED,
        };
        let online = look.online && !self.leaving;
        // What stands in a directory that is not ours any more is not for us.
        let ours = if self.removed {
            XenbusState::UNKNOWN
        } else {
            look.ours
        };
        Seen {
            ours,
            theirs,
            online,
            look,
            offered: false,
        }
    }

    /// Our directory has been taken away, or it is another one in the same place: we never write
    /// Initialising, and nobody changes what a device is made of. The new one is for a new device.
    fn notice_removal(&mut self, look: &Look) {
        let began = [XenbusState::UNKNOWN, XenbusState::INITIALISING].contains(&self.ours);
        let replaced = look.ours == XenbusState::INITIALISING && (!began || look.differs);
        self.removed |= look.ours == XenbusState::UNKNOWN || replaced;
    }

    /// Closing takes as long as the disk does; the operator is told once for each connection.
    pub(crate) fn say_what_is_in_the_disk(&mut self, cx: &mut Context<'_>) {
        let in_disk = self.in_disk();
        if in_disk > 0 && !std::mem::replace(&mut self.said, true) {
            self.stats.waiting(cx.reactor.now(), in_disk);
        }
    }

    /// A device that is connected according to the store, but not to us, was left behind by a
    /// process that died. What that process had in flight is not known. One that is leaving has
    /// let go itself.
    ///
    /// One that was found so keeps its state: a frontend that is told Closing fails all its
    /// requests, and a guest whose root file system that is does not survive it; one that waits can
    /// be rebooted, or given the disk anew.
    fn notice_orphan(&mut self, cx: &mut Context<'_>) {
        let unattached = self.worker.is_none() && !self.leaving;
        let orphan = self.ours == XenbusState::CONNECTED && unattached;
        let is_known = self.orphaned && std::mem::replace(&mut self.told, true);
        if orphan && !is_known && self.refusal.is_none() {
            let errno = Refusal::EIO;
            let text = "the process that served this device is gone".to_owned();
            self.refuse(cx, Refusal { errno, text });
        }
    }

    fn act(&mut self, cx: &mut Context<'_>, seen: &Seen<'_>, action: Action) {
        match action {
            Action::Nothing => {}
            Action::Prepare => self.prepare(cx, seen),
            Action::Switch(state) => self.switch(cx, state),
            Action::Attach => self.attach(cx, seen),
            Action::Detach => self.detach(cx, seen),
            Action::Finish => self.finish(cx),
        }
    }

    fn prepare(&mut self, cx: &mut Context<'_>, seen: &Seen<'_>) {
        if self.deaf {
            return self.submit(cx, Sent::Watch, self.nodes.watch());
        }
        if self.geometry().is_some() {
            return self.act(
                cx,
                seen,
                xenbus::next(seen.ours, seen.theirs, Event::Prepared),
            );
        }
        self.open(cx, LockBy::Connect);
    }

    /// Has the image opened, unless that is under way.
    fn open(&mut self, cx: &mut Context<'_>, lock_by: LockBy) {
        match &self.description {
            _ if self.opening => {}
            Some(Ok(description)) => {
                let params = description.params.clone();
                self.asked = Some(Ask::OpenImage {
                    params,
                    mode: description.mode,
                    lock_by,
                });
                self.opening = true;
            }
            Some(Err(invalid)) => {
                let refusal = (*invalid).into();
                self.refuse(cx, refusal);
                self.dirty = true;
            }
            None => self.dirty = true,
        }
    }

    /// What the disk says of itself, or will say.
    fn geometry(&self) -> Option<Geometry> {
        let open = self.disk.as_ref().map(|disk| disk.geometry());
        open.or(self.promised)
    }

    fn switch(&mut self, cx: &mut Context<'_>, state: XenbusState) {
        let geometry = self.geometry();
        let batch = match (state, geometry, &self.description) {
            (XenbusState::INIT_WAIT, Some(geometry), _) => self.nodes.init_wait(&geometry),
            (XenbusState::CONNECTED, Some(geometry), Some(Ok(description))) => {
                let info = description.info(geometry.read_only);
                self.nodes.connected(&geometry, info)
            }
            (XenbusState::CLOSING, ..) => {
                self.publishing = self.refusal.take();
                match &self.publishing {
                    Some(refusal) => self.nodes.failed(refusal),
                    None => self.nodes.plain(state),
                }
            }
            // Without a disk there is no coming back.
            (XenbusState::CLOSED, None, _) => self.nodes.closed(),
            _ => self.nodes.plain(state),
        };
        self.submit(cx, Sent::Switch(state), batch);
    }

    /// A write of ours was answered. Against other writers the next look decides what to do about
    /// it; any other failure is beyond us until something changes. That a node to be removed was
    /// not there is no failure.
    fn switched(&mut self, state: XenbusState, replies: &Replies) {
        let publishing = self.publishing.take();
        if self.nodes.is_outdated(replies) {
            self.refusal = self.refusal.take().or(publishing);
            self.dirty = true;
            return;
        }
        let benign = [StoreError::NotFound, StoreError::RolledBack];
        let mut failed = replies.iter().filter_map(|reply| reply.as_ref().err());
        match failed.find(|error| !benign.contains(error)) {
            None => {
                self.ours = state;
                self.detaching &= state != XenbusState::CLOSED;
                self.dirty = true;
            }
            Some(error) => {
                self.refusal = self.refusal.take().or(publishing);
                self.dirty |= *error == StoreError::Conflict;
                if *error != StoreError::Conflict {
                    tracing::error!(device = %self.id, "writing state {state} to xenstore: {error}");
                }
            }
        }
    }

    /// A report was answered: it is written, or it is given up unless somebody else was faster.
    fn reported(&mut self, replies: &Replies) {
        let publishing = self.publishing.take();
        self.dirty = true;
        if self.nodes.is_outdated(replies) {
            self.refusal = self.refusal.take().or(publishing);
        } else if let Some(error) = replies.iter().find_map(|reply| reply.as_ref().err()) {
            tracing::error!(device = %self.id, "writing an error to xenstore: {error}");
        }
    }

    /// Attaches to the frontend's ring, unless requests of the last connection are still in the
    /// disk: those must not meet the ones of a new connection. The image comes first, for its lock
    /// may be with the process of another domain until now.
    fn attach(&mut self, cx: &mut Context<'_>, seen: &Seen<'_>) {
        if !seen.look.released {
            return;
        }
        if self.disk.is_none() {
            return self.open(cx, LockBy::Now);
        }
        match &self.worker {
            Some(worker) if worker.port().is_none() => return,
            Some(_) => {}
            None if !seen.offered => {
                self.dirty = true;
                return;
            }
            None => {
                if let Err(refusal) = self.connect(cx, &seen.look.offer) {
                    self.refuse(cx, refusal);
                    self.dirty = true;
                    return;
                }
            }
        }
        self.act(
            cx,
            seen,
            xenbus::next(seen.ours, seen.theirs, Event::Attached),
        );
    }

    /// Gives the ring and the port back; waits for what is in the disk; then publishes. Repeating
    /// it does no harm.
    ///
    /// A frontend that says Closed, and goes on saying so, has its answers first. One that is gone,
    /// or starts over, has nobody to take them, and its pages are given back at once; so has one
    /// that was told Closed.
    fn detach(&mut self, cx: &mut Context<'_>, seen: &Seen<'_>) {
        self.detaching = true;
        let over = [XenbusState::UNKNOWN, XenbusState::CLOSED].contains(&seen.ours);
        let listens = seen.look.theirs == XenbusState::CLOSED && !over;
        match listens.then(|| self.drain(cx)) {
            Some(Ok(true)) => return self.say_what_is_in_the_disk(cx),
            Some(Ok(false)) | None => self.cut(cx),
            Some(Err(corrupt)) => {
                self.detaching = false;
                return self.corrupt(cx, corrupt);
            }
        }
        if self.worker.is_some() {
            return self.say_what_is_in_the_disk(cx);
        }
        let stays = seen.online && seen.ours != XenbusState::UNKNOWN;
        if !stays {
            self.close_disk(cx);
        }
        let action = xenbus::next(seen.ours, seen.theirs, Event::Detached);
        // Closed already: somebody else wrote it. What that asks for is the next look's business.
        self.detaching = action != Action::Nothing;
        self.dirty |= action == Action::Nothing;
        self.act(cx, seen, action);
    }

    fn finish(&mut self, cx: &mut Context<'_>) {
        self.cut(cx);
        if self.worker.is_none() {
            self.close_disk(cx);
            self.submit(cx, Sent::Unwatch, self.nodes.unwatch());
        } else {
            self.detaching = true;
        }
    }

    /// Tells the operator, and keeps the words for the store.
    pub(crate) fn refuse(&mut self, cx: &mut Context<'_>, refusal: Refusal) {
        self.stats.not_served(cx.reactor.now(), &refusal);
        self.refusal = Some(refusal);
    }
}

/// What decisions are made of.
struct Seen<'a> {
    ours: XenbusState,
    theirs: XenbusState,
    online: bool,
    look: &'a Look,
    /// The look included the frontend's offer.
    offered: bool,
}
