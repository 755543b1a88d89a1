//! What the host daemon does about what happens; why, is in [`super::judge`].
//!
//! Invariant: nothing here waits, and nothing but the toolstack's own doing makes it start a
//! process.

use std::io;
use std::path::PathBuf;

use abi::DomId;
use xenstore::{BatchId, Event};

use super::desk::{self, Desk};
use super::guests::{Ended, Guests};
use super::ignored::Ignored;
use super::inquiries::{self, Inquiries, Inquiry, Replies, Why};
use super::judge::{self, End, Seen, Verdict};
use super::link::Link;
use super::spawn::Spawner;
use super::tree::{self, About, Name};
use super::wait::{Source, Waiter};
use super::{Place, notify};
use crate::cli::args::{HostArgs, KindArg};
use crate::cli::place::PlatformArg;
use crate::error::{Doing as _, Exit, Failure};

mod acts;

/// See the head of this file.
pub(super) struct Daemon {
    state: PathBuf,
    kinds: Vec<KindArg>,
    waiter: Waiter,
    link: Link,
    desk: Desk,
    spawner: Spawner,
    guests: Guests,
    ignored: Ignored,
    inquiries: Inquiries,
}

impl Daemon {
    /// Takes back the processes of an earlier daemon, and opens the desk.
    pub(super) fn new(
        platform: &PlatformArg,
        args: &HostArgs,
        place: &Place,
        waiter: Waiter,
    ) -> Result<Self, Failure> {
        let socket = place.socket();
        let link = Link::open(platform)?;
        link.listen(&waiter).doing(|| "listen to xenstore".into())?;
        let mut daemon = Self {
            state: place.state.clone(),
            kinds: args.kind.clone(),
            spawner: Spawner::new(platform, &args.kind, &socket)
                .doing(|| "find its own program".into())?,
            desk: Desk::open(&socket, &waiter, desk::ASKERS_MAX)
                .doing(|| format!("listen at {}", socket.display()))?,
            link,
            waiter,
            guests: Guests::default(),
            ignored: Ignored::default(),
            inquiries: Inquiries::default(),
        };
        daemon.adopt_all();
        Ok(daemon)
    }

    /// Asks xenstore to tell.
    pub(super) fn start(&mut self) -> Result<(), Failure> {
        let watch = tree::watch().into_iter().collect();
        self.inquiries.ask(&mut self.link, watch, Inquiry::Watch);
        self.link.send(&self.waiter).doing(|| "ask xenstore".into())
    }

    /// Serves until told to stop, or until xenstore is gone.
    pub(super) fn serve(&mut self) -> io::Result<()> {
        let mut happened = Vec::new();
        loop {
            self.waiter.wait(&mut happened)?;
            for source in happened.drain(..) {
                match source {
                    Source::Signals => return Ok(()),
                    Source::Store => self.listen()?,
                    Source::Broker => self.desk.accept(&self.waiter),
                    Source::Opened => self.desk.opened(&self.waiter),
                    Source::Asker(number) => self.asked(number),
                    Source::Process(domid) => self.ended(domid),
                }
            }
            self.desk.breathe(&self.waiter);
            self.link.send(&self.waiter)?;
        }
    }

    fn listen(&mut self) -> io::Result<()> {
        self.link.receive()?;
        while let Some(event) = self.link.next_event() {
            match event {
                Event::Watch { path, .. } => self.changed(About::of(&path, &self.kinds)),
                Event::Replies { batch, replies } => self.answered(batch, &replies)?,
            }
        }
        Ok(())
    }

    /// Looks at what has changed, if it has no process to look for itself.
    fn changed(&mut self, about: About) {
        match about {
            About::Everything => {
                let kinds = self.kinds.iter();
                let steps = kinds.filter_map(|kind| tree::guests(*kind)).collect();
                self.inquiries.ask(&mut self.link, steps, Inquiry::Guests);
            }
            About::Guest(domid) => {
                self.ignored.forget(domid);
                self.look_for_remains(domid);
            }
            About::Directory(domid, name) if !self.spawner.kinds().contains(&name.kind) => {
                self.look_closely(domid, name);
            }
            About::Directory(domid, name) => {
                self.guests.note(domid);
                self.look_at(domid, name);
            }
            About::State(domid, name) => self.look_at(domid, name),
            About::Nothing => {}
        }
    }

    fn look_at(&mut self, domid: DomId, name: Name) {
        if !self.guests.is_taken(domid) {
            self.look_closely(domid, name);
        }
    }

    fn look_closely(&mut self, domid: DomId, name: Name) {
        let (inquiries, link) = (&mut self.inquiries, &mut self.link);
        inquiries.states(link, domid, vec![name], Why::Changed);
    }

    fn look_for_remains(&mut self, domid: DomId) {
        if self.guests.is_fallen(domid) {
            let (inquiries, link) = (&mut self.inquiries, &mut self.link);
            inquiries.devices(link, domid, &self.kinds, Why::Remains);
        }
    }

    fn answered(&mut self, batch: BatchId, replies: &Replies) -> io::Result<()> {
        let error = replies.iter().find_map(|reply| reply.as_ref().err());
        match self.inquiries.answered(batch) {
            Some(Inquiry::Watch) => match error {
                Some(error) => return Err(io::Error::other(*error)),
                None => self.ready(),
            },
            Some(Inquiry::Guests) => self.look_at_all(&inquiries::guests(replies)),
            Some(Inquiry::Devices(domid, kinds, why)) => {
                let names = inquiries::devices(&kinds, replies);
                self.inquiries.states(&mut self.link, domid, names, why);
            }
            Some(Inquiry::States(domid, names, why)) => {
                let (uuid, seen) = inquiries::states(&names, replies);
                self.seen(domid, uuid, &seen, why);
            }
            Some(Inquiry::Image(asker, question)) => {
                let uuid = inquiries::states(&[], replies.get(2..).unwrap_or_default()).0;
                let is_theirs = self.serves(asker.pid, question.domid, uuid.as_deref());
                match is_theirs {
                    true => self.desk.serve(&self.waiter, asker, &question, replies),
                    false => asker.refuse(libc::EPERM, "this process does not serve that guest"),
                }
            }
            Some(Inquiry::Ignored(domid, name)) => {
                acts::ignored(domid, name, inquiries::value(replies));
            }
            Some(Inquiry::Written(domid, name)) => acts::written(domid, name, error),
            None => {}
        }
        Ok(())
    }

    fn ready(&self) {
        let served = self.guests.served();
        tracing::info!("host daemon is ready; {served} guests have a process");
        notify::say("READY=1");
    }

    fn look_at_all(&mut self, guests: &[DomId]) {
        let (inquiries, link) = (&mut self.inquiries, &mut self.link);
        for domid in guests.iter().filter(|domid| !self.guests.is_taken(**domid)) {
            inquiries.devices(link, *domid, &self.kinds, Why::Changed);
        }
    }

    /// Decides about a guest that was looked at.
    fn seen(&mut self, domid: DomId, uuid: Option<String>, seen: &[Seen], why: Why) {
        let kinds = self.spawner.kinds();
        let (ours, kernels): (Vec<Seen>, Vec<Seen>) = seen
            .iter()
            .partition(|device| kinds.contains(&device.name.kind));
        for device in kernels {
            if self.ignored.is_new(domid, &device) {
                let (inquiries, link) = (&mut self.inquiries, &mut self.link);
                inquiries.script(link, domid, device.name);
            }
        }
        match why {
            Why::Ended(ended) => self.judge_end(domid, uuid, &ours, ended),
            _ if self.guests.is_taken(domid) => {}
            Why::Changed | Why::Remains => {
                if judge::was_served(&ours) && self.is_served_by_somebody(domid, uuid.as_deref()) {
                    return;
                }
                let is_fallen = self.guests.is_fallen(domid);
                let verdict = judge::changed(&ours, is_fallen);
                self.act(domid, uuid, &verdict);
                match (is_fallen && !verdict.remains, why) {
                    (true, Why::Changed) => self.look_for_remains(domid),
                    (true, _) => {
                        let uuid = self.guests.forget(domid);
                        self.tidy(domid, uuid.as_deref());
                    }
                    (false, _) => {}
                }
            }
        }
    }

    fn judge_end(&mut self, domid: DomId, uuid: Option<String>, seen: &[Seen], ended: Ended) {
        let news = self.guests.judged(domid);
        let (pid, end) = (ended.pid, ended.end);
        let uuid = uuid.or(ended.uuid);
        let is_served = end == End::Exited(i32::from(Exit::Held.code()));
        if is_served && self.adopt(domid, uuid.as_deref()) {
            return;
        }
        let verdict = judge::ended(seen, end, news);
        say(domid, pid, end, &verdict);
        match verdict.remains {
            true => self.guests.fall(domid, uuid.clone()),
            false => self.tidy(domid, uuid.as_deref()),
        }
        self.act(domid, uuid, &verdict);
    }

    fn act(&mut self, domid: DomId, uuid: Option<String>, verdict: &Verdict) {
        for name in &verdict.refuse {
            self.refuse(domid, *name, "the process that was to serve it has failed");
        }
        for name in &verdict.close {
            self.close(domid, *name);
        }
        if !verdict.spawn.is_empty() {
            self.spawn(domid, uuid, &verdict.spawn);
        }
    }
}

/// One line about the end of a process, an error if it is one.
fn say(domid: DomId, pid: u32, end: End, verdict: &Verdict) {
    let names: Vec<String> = verdict.stranded.iter().map(Name::to_string).collect();
    let names = names.join(", ");
    match (verdict.failed, names.is_empty()) {
        (false, _) => tracing::info!("domain {domid}: process {pid} {end}"),
        (true, true) => tracing::error!("domain {domid}: process {pid} {end}"),
        (true, false) => tracing::error!(
            "domain {domid}: process {pid} {end}; not served until attached again or rebooted: \
             {names}"
        ),
    }
}
