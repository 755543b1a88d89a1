//! A guest of a world: a kernel with one frontend and one verified load per disk.
//!
//! It is stepped like a process: the driver asks what could happen to it and lets it happen. It
//! knows nothing of backends.
//!
//! Invariant: a load moves on only after an event on its port or a change of its connection, so a
//! notification that is missing leaves it standing still.

use std::fs::File;
use std::io::Read as _;

use abi::{DomId, Port};
use evtchn::EventChannels as _;
use xenstore::client::Client;
use xenstore::server::ConnId;

use super::{Host, Rng, Trace};
use crate::front::workload::Progress;
use crate::front::{Blkfront, Hostile, Kernel, Phase, Workload};
use crate::live;
use crate::memory::Frames;

/// Something that could happen to a guest next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Possible {
    /// Its bytes reach xenstore.
    Send,
    /// Bytes of xenstore reach it.
    Hear,
    /// It takes the upcall.
    Upcall,
    /// The load on this disk goes on.
    Work(usize),
    /// The frontend that means harm does so.
    Harm,
}

/// A disk of a guest.
#[derive(Debug)]
pub struct Disk {
    /// The driver.
    pub front: Blkfront,
    /// What is done with it.
    pub load: Workload,
    /// Which drive of the world is behind it.
    pub drive: usize,
    /// How far the load is.
    pub progress: Progress,
    /// Something happened that the load has not seen.
    stale: bool,
    /// A new kernel takes over as soon as the backend has let go.
    reconnect: bool,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Guest {
    /// Its domain.
    pub domid: DomId,
    /// Its disks.
    pub disks: Vec<Disk>,
    /// A frontend that means harm, on a disk of its own.
    pub hostile: Option<Hostile>,
    machine: live::Guest,
    frames: Frames,
    store: Client,
    conn: ConnId,
    inbox: Vec<u8>,
    upcall: File,
    /// The upcall was read, and not yet taken.
    rung: bool,
    ports: Vec<Port>,
}

impl Disk {
    /// Whether the load has come to its end, or cannot because the disk is gone.
    pub fn is_finished(&self) -> bool {
        let gone = matches!(self.front.phase(), Phase::Down | Phase::Failed(_));
        !self.reconnect && (self.progress == Progress::Finished || gone)
    }
}

impl Guest {
    /// Boots a guest in a domain that xenstore knows; its disks are given as frontend and load.
    pub fn boot(
        host: &Host,
        domid: DomId,
        seed: u64,
        disks: Vec<(Blkfront, Workload, usize)>,
        hostile: Option<Hostile>,
    ) -> Result<Self, live::Error> {
        let machine = host.attach_guest(domid)?;
        let upcall = machine.events.descriptor();
        let disk = |(front, load, drive)| Disk {
            front,
            load,
            drive,
            progress: Progress::Running,
            stale: false,
            reconnect: false,
        };
        let mut guest = Self {
            domid,
            disks: disks.into_iter().map(disk).collect(),
            hostile,
            frames: Frames::new(&machine.memory, seed),
            machine,
            store: Client::new(),
            conn: host.store(domid),
            inbox: Vec::new(),
            upcall: upcall
                .map_err(live::Error::os("duplicating the event descriptor"))?
                .into(),
            rung: false,
            ports: Vec::new(),
        };
        guest.each(|disk, kernel| disk.front.start(kernel));
        guest.with_hostile(Hostile::start);
        Ok(guest)
    }

    /// What could happen next, in an order that depends on nothing but the past.
    pub fn possible(&mut self, host: &Host, all: &mut Vec<Possible>) {
        self.rung |= self.upcall.read(&mut [0; 8]).is_ok();
        self.inbox.append(&mut host.store_output(self.conn));
        if !self.store.outgoing().is_empty() {
            all.push(Possible::Send);
        }
        if !self.inbox.is_empty() {
            all.push(Possible::Hear);
        }
        if self.rung {
            all.push(Possible::Upcall);
        }
        let stale = self.disks.iter().enumerate().filter(|(_, disk)| disk.stale);
        all.extend(stale.map(|(index, _)| Possible::Work(index)));
        if self.hostile.as_ref().is_some_and(Hostile::can_act) {
            all.push(Possible::Harm);
        }
    }

    /// Lets it happen. `now_ns` is the time.
    pub fn step(
        &mut self,
        host: &Host,
        what: Possible,
        now_ns: u64,
        rng: &mut Rng,
        trace: &mut Trace,
    ) -> Result<(), String> {
        match what {
            Possible::Send => self.send(host, rng),
            Possible::Hear => self.hear(rng)?,
            Possible::Upcall => self.take_upcall(),
            Possible::Work(index) => self.work(index, now_ns),
            Possible::Harm => self.with_hostile(Hostile::step),
        }
        let tag = match what {
            Possible::Send => 0,
            Possible::Hear => 1,
            Possible::Upcall => 2,
            Possible::Work(index) => 3 + index as u64,
            Possible::Harm => u64::MAX,
        };
        let in_flight: usize = self.disks.iter().map(|disk| disk.front.in_flight()).sum();
        trace.note("guest", &[self.domid.0.into(), tag, in_flight as u64]);
        Ok(())
    }

    /// A new kernel takes over a disk without a word to the old one's backend.
    pub fn replace_kernel(&mut self, index: usize) {
        self.with(index, |disk, kernel| {
            disk.front.abandon(kernel);
            disk.reconnect = true;
            disk.stale = true;
        });
    }

    /// The guest died: what was under way may or may not have happened.
    pub fn lose_everything(&mut self) {
        self.disks.iter_mut().for_each(|disk| disk.load.lose());
    }

    /// Closes its xenstore connection.
    pub fn leave(&self, host: &Host) {
        host.store_close(self.conn);
    }

    /// Whether a disk is connected and has requests that are not answered.
    pub fn is_busy(&self, index: usize) -> bool {
        let busy =
            |disk: &Disk| *disk.front.phase() == Phase::Connected && disk.front.in_flight() > 0;
        self.disks.get(index).is_some_and(busy)
    }

    /// Whether nothing of any disk is left.
    pub fn is_down(&self) -> bool {
        let down = |disk: &Disk| matches!(disk.front.phase(), Phase::Down | Phase::Failed(_));
        self.disks.iter().all(down)
    }

    /// What every disk saw, judged: the requests that ended, or what no backend may do.
    /// `errors_max` requests may have failed.
    pub fn judge(&self, errors_max: u64) -> Result<u64, String> {
        let mut requests = 0;
        let mut errors = 0;
        for disk in &self.disks {
            if let Some(violation) = disk.front.violations().first() {
                return Err(violation.to_string());
            }
            if let Some(mismatch) = disk.load.mismatches().first() {
                return Err(format!(
                    "read something else than was written: {mismatch:?}"
                ));
            }
            let counts = disk.load.counts();
            requests += counts.requests;
            errors += counts.errors + counts.unsupported - counts.errors_after_flush;
            let trusted = counts.acknowledged_after_flush;
            if trusted > 0 {
                return Err(format!("{trusted} acknowledged after a failed flush"));
            }
            if counts.lost > 0 {
                return Err(format!("{} requests were never answered", counts.lost));
            }
        }
        if errors > errors_max {
            return Err(format!(
                "{errors} requests failed, but only {errors_max} disk operations"
            ));
        }
        Ok(requests)
    }

    /// How far every disk is, in a few words.
    pub fn describe(&self) -> String {
        let of_disk = |disk: &Disk| {
            let (phase, in_flight) = (disk.front.phase(), disk.front.in_flight());
            format!("{phase:?}, {:?}, {in_flight} in flight", disk.progress)
        };
        self.disks
            .iter()
            .map(of_disk)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Grants that have not been taken back.
    pub fn grants_lent(&self) -> usize {
        self.machine.table.lent()
    }

    /// Whether the load on every disk has come to its end, or cannot because the disk is gone.
    pub fn is_finished(&self) -> bool {
        self.disks.iter().all(Disk::is_finished)
    }

    fn send(&mut self, host: &Host, rng: &mut Rng) {
        let bytes = self.store.outgoing();
        let len = 1 + rng.index(bytes.len());
        let len = len.min(bytes.len());
        host.store_input(self.conn, &bytes[..len]);
        self.store.sent(len);
    }

    fn hear(&mut self, rng: &mut Rng) -> Result<(), String> {
        let len = (1 + rng.index(self.inbox.len())).min(self.inbox.len());
        let bytes: Vec<u8> = self.inbox.drain(..len).collect();
        self.store
            .incoming(&bytes)
            .map_err(|corrupt| format!("xenstore: {corrupt}"))?;
        while let Some(event) = self.store.next_event() {
            self.each(|disk, kernel| {
                let before = disk.front.phase().clone();
                disk.front.store_event(kernel, &event);
                disk.stale |= *disk.front.phase() != before;
            });
            self.with_hostile(|hostile, kernel| {
                hostile.store_event(kernel, &event);
            });
        }
        Ok(())
    }

    fn take_upcall(&mut self) {
        self.rung = false;
        self.machine
            .events
            .pending(&1u64.to_ne_bytes(), &mut self.ports);
        for port in std::mem::take(&mut self.ports) {
            self.each(|disk, kernel| {
                if disk.front.port() == Some(port) {
                    disk.front.kicked(kernel);
                    disk.stale = true;
                }
            });
        }
    }

    fn work(&mut self, index: usize, now_ns: u64) {
        self.with(index, |disk, kernel| {
            disk.stale = false;
            disk.progress = disk.load.step(&mut disk.front, kernel, now_ns);
            if disk.reconnect && *disk.front.phase() == Phase::Down {
                disk.reconnect = false;
                disk.front.reconnect(kernel);
                disk.progress = Progress::Running;
            }
        });
    }

    fn each(&mut self, mut act: impl FnMut(&mut Disk, &mut Kernel<'_>)) {
        for index in 0..self.disks.len() {
            self.with(index, &mut act);
        }
    }

    fn with(&mut self, index: usize, act: impl FnOnce(&mut Disk, &mut Kernel<'_>)) {
        if let Some(disk) = self.disks.get_mut(index) {
            act(
                disk,
                &mut kernel(&mut self.machine, &mut self.frames, &mut self.store),
            );
        }
    }

    fn with_hostile(&mut self, act: impl FnOnce(&mut Hostile, &mut Kernel<'_>)) {
        if let Some(hostile) = &mut self.hostile {
            act(
                hostile,
                &mut kernel(&mut self.machine, &mut self.frames, &mut self.store),
            );
        }
    }

    /// Takes back what the frontend that means harm has lent; the grants that are still in use,
    /// of which there must be none once its backend has closed.
    pub fn disarm(&mut self) -> usize {
        let mut in_use = 0;
        self.with_hostile(|hostile, kernel| in_use = hostile.revoke_all(kernel).len());
        in_use
    }
}

fn kernel<'a>(
    machine: &'a mut live::Guest,
    frames: &'a mut Frames,
    store: &'a mut Client,
) -> Kernel<'a> {
    Kernel {
        memory: &machine.memory,
        frames,
        grants: &mut machine.table,
        events: &mut machine.events,
        store,
    }
}
