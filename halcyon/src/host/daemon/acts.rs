//! What the daemon does to guests: start, take back, say no, close, tidy up.
//!
//! It decides nothing. Invariant: a guest that could not be given a process is remembered as one
//! that lost it, so that nothing is tried again before the toolstack has done something.

use std::fs;
use std::io;

use abi::DomId;
use abi::io::xenbus::XenbusState;
use blkback::Refusal;
use xenstore::StoreError;

use super::Daemon;
use crate::cli::args::KindArg;
use crate::host::guests::Process;
use crate::host::ignored::asks_for_us;
use crate::host::inquiries::{Inquiry, Why};
use crate::host::permit;
use crate::host::tree::{self, Name};
use crate::host::wait::Source;
use crate::stats;
use crate::vm::{claim, td3};

/// libxl attaches a disk to domain 0 itself where a bootloader of domain 0 is to read it and the
/// disk has a script.
const NOT_DOM0: &str = "domain 0 itself is not served: bootloader= (pygrub) cannot read a disk with \
                        script=block-halcyon; boot with kernel= (pvgrub), or serve it as qdisk";

impl Daemon {
    /// Takes back the processes that an earlier daemon has started, whatever they serve, and
    /// remembers the guests of those that were killed since.
    pub(super) fn adopt_all(&mut self) {
        for uuid in stats::uuids(&self.state).unwrap_or_default() {
            let dir = self.state.join(&uuid);
            for claim in claim::held(&dir).unwrap_or_default() {
                self.adopt(claim.domid, Some(&uuid));
            }
            for (domid, kind) in claim::left_behind(&dir) {
                let is_known = self.guests.is_taken(domid) || self.guests.is_fallen(domid);
                if self.kinds.contains(&kind) && !is_known {
                    tracing::warn!("domain {domid}: its process was lost before this daemon came");
                    self.guests.fall(domid, Some(uuid.clone()));
                    // The guest may be gone as well.
                    self.look_for_remains(domid);
                }
            }
        }
    }

    /// Whether a guest whose devices were served has a process. If it has none, it lost it.
    pub(super) fn is_served_by_somebody(&mut self, domid: DomId, uuid: Option<&str>) -> bool {
        let is_served = self.adopt(domid, uuid);
        if !is_served && !self.guests.is_fallen(domid) {
            self.guests.fall(domid, uuid.map(str::to_owned));
        }
        is_served
    }

    /// Takes back the process that serves a guest: one of an earlier daemon, or one that somebody
    /// else has started. Whether there is one.
    pub(super) fn adopt(&mut self, domid: DomId, uuid: Option<&str>) -> bool {
        if self.guests.is_taken(domid) {
            return true;
        }
        let process = uuid.and_then(|uuid| Process::adopted(&self.state, uuid, domid));
        let is_ours =
            |process: &Process| process.kinds.iter().any(|kind| self.kinds.contains(kind));
        let process = process.filter(is_ours);
        process.is_some_and(|process| self.watch_over(domid, process).is_ok())
    }

    /// Whether the process `pid` serves `domid`, as far as its claim says.
    pub(super) fn serves(&mut self, pid: u32, domid: DomId, uuid: Option<&str>) -> bool {
        let is_known = |process: &Process| process.pid == pid;
        if self.guests.process(domid).is_some_and(is_known) {
            return true;
        }
        self.adopt(domid, uuid);
        let held = uuid.and_then(|uuid| claim::held(&self.state.join(uuid)).ok());
        let held = held.unwrap_or_default();
        held.iter()
            .any(|claim| claim.domid == domid && claim.pid == pid)
    }

    fn watch_over(&mut self, domid: DomId, process: Process) -> io::Result<()> {
        self.waiter.add(&process.fd, Source::Process(domid))?;
        self.guests.serve(domid, process);
        Ok(())
    }

    /// Starts the process of a guest, for which `names` wait.
    pub(super) fn spawn(&mut self, domid: DomId, uuid: Option<String>, names: &[Name]) {
        if domid == DomId::DOM0 {
            return self.forsake(domid, None, names, NOT_DOM0);
        }
        let kinds = self.spawner.kinds();
        if let Err(error) = self.try_spawn(domid, kinds, uuid.clone()) {
            tracing::error!("domain {domid}: starting its process: {error}");
            let why = format!("the process that was to serve it did not start: {error}");
            self.forsake(domid, uuid, names, &why);
        }
    }

    /// Says of devices that they get no process, and remembers it.
    fn forsake(&mut self, domid: DomId, uuid: Option<String>, names: &[Name], why: &str) {
        self.guests.fall(domid, uuid);
        for name in names {
            self.refuse(domid, *name, why);
        }
    }

    fn try_spawn(
        &mut self,
        domid: DomId,
        kinds: Vec<KindArg>,
        uuid: Option<String>,
    ) -> io::Result<()> {
        let child = self.spawner.spawn(domid, &kinds)?;
        let pid = child.id();
        self.watch_over(domid, Process::started(child, kinds, uuid)?)?;
        tracing::info!("domain {domid}: process {pid} started");
        Ok(())
    }

    /// The process of a guest has ended: asks how its devices are.
    pub(super) fn ended(&mut self, domid: DomId) {
        if let Some(ended) = self.guests.end(domid) {
            let (inquiries, link) = (&mut self.inquiries, &mut self.link);
            inquiries.devices(link, domid, &self.kinds, Why::Ended(ended));
        }
    }

    /// A VM process may have a question.
    pub(super) fn asked(&mut self, number: u32) {
        let Some((asker, question)) = self.desk.hear(&self.waiter, number) else {
            return;
        };
        if let Some(steps) = permit::steps(&question) {
            let inquiry = Inquiry::Image(asker, question);
            self.inquiries.ask(&mut self.link, steps, inquiry);
        }
    }

    /// Says of a device that it is not served, and why.
    pub(super) fn refuse(&mut self, domid: DomId, name: Name, why: &str) {
        let refusal = Refusal::new(Refusal::EIO, &io::Error::other(why.to_owned()));
        if let Some(batch) = tree::refuse(domid, name, &refusal) {
            let inquiry = Inquiry::Written(domid, name);
            self.inquiries.submit(&mut self.link, batch, inquiry);
        }
    }

    /// Closes a device that the toolstack withdraws and that nobody serves.
    pub(super) fn close(&mut self, domid: DomId, name: Name) {
        if let Some(batch) = tree::close(domid, name, XenbusState::CLOSING) {
            let inquiry = Inquiry::Written(domid, name);
            self.inquiries.submit(&mut self.link, batch, inquiry);
        }
    }

    /// Removes what a process that did not end well has left of a guest that is gone.
    pub(super) fn tidy(&self, domid: DomId, uuid: Option<&str>) {
        let Some(dir) = uuid.map(|uuid| self.state.join(uuid)) else {
            return;
        };
        if claim::held(&dir).is_ok_and(|held| held.is_empty()) {
            drop(fs::remove_file(dir.join(stats::FILE)));
            td3::sweep(&dir);
        }
        claim::tidy(&dir, domid);
    }
}

/// A write was answered. That somebody else was faster, or took the device away, is no failure.
pub(super) fn written(domid: DomId, name: Name, error: Option<&StoreError>) {
    let benign = [
        StoreError::NotFound,
        StoreError::Conflict,
        StoreError::RolledBack,
    ];
    if let Some(error) = error.filter(|error| !benign.contains(error)) {
        tracing::error!("domain {domid}, {name}: writing to xenstore: {error}");
    }
}

/// The kernel has taken a device with this script: one line, if it is meant for us.
pub(super) fn ignored(domid: DomId, name: Name, script: Option<&[u8]>) {
    if asks_for_us(script) {
        tracing::error!(
            "domain {domid}, {name}: not served: xen-blkback is loaded and owns vbd: rmmod \
             xen-blkback or use backendtype=tap"
        );
    }
}
