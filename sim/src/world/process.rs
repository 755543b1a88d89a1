//! A VM process of a world: something that can be stepped, its reactor, and the ends of its files.
//!
//! The driver asks what could happen next ([`Running::possible`]) and makes one of it happen. It
//! does not know what the process is doing, and the process does not know that it is in a world.
//!
//! Invariant: a process is stepped only when it could have woken.

use std::cell::RefCell;
use std::fs::File;
use std::io::Read as _;
use std::rc::Rc;

use abi::{DomId, SECTOR_SIZE, Sector};
use reactor::world::{OpId, World as Files};
use reactor::{Completion, Reactor as _, Sleep, Slot, Submission, Verb};
use vm_memory::Bytes as _;
use xen::Platform;
use xenstore::server::ConnId;

use super::host::{Backend, ClientId, Host};
use super::{Drive, Fate, Rng, Trace};

/// The most bytes of xenstore that travel at a time: small, so that messages arrive in pieces.
const PIECE_BYTES: u64 = 97;

/// What a step leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Step again before sleeping.
    Again,
    /// Nothing left until a completion arrives.
    Idle,
    /// The process has ended.
    Done,
    /// The process has ended with this error.
    Failed(String),
}

/// The code under test, as the process that serves one guest.
pub trait Process {
    /// One step. `completions` are what the reactor returned; the step takes them all.
    fn turn(&mut self, files: &mut Files, completions: &mut Vec<Completion>) -> Progress;
}

/// What a new process is given.
pub struct Start<'a> {
    /// The guest to serve.
    pub domid: DomId,
    /// Grants and event channels.
    pub platform: Platform,
    /// Its reactor.
    pub files: &'a mut Files,
    /// Readable when an event is pending.
    pub events: Slot,
    /// Its xenstore connection.
    pub store: Slot,
    /// How it opens drives.
    pub drives: DriveSlots,
}

/// Starts processes: what a toolstack's spawn is on a host.
pub type Spawn<'a> = dyn Fn(Start<'_>) -> Box<dyn Process> + 'a;

/// The drives of a world as a process can open them. Cloning shares it.
#[derive(Clone, Debug)]
pub struct DriveSlots {
    sectors: Rc<[Sector]>,
    /// Which drive is behind a slot.
    open: Rc<RefCell<Vec<(Slot, usize)>>>,
}

impl DriveSlots {
    fn new(drives: &[Drive]) -> Self {
        let sectors = drives
            .iter()
            .map(|drive| Sector((drive.bytes().len() / SECTOR_SIZE) as u64));
        Self {
            sectors: sectors.collect(),
            open: Rc::default(),
        }
    }

    /// How large drive number `drive` is. `None` if there is none.
    pub fn sectors(&self, drive: usize) -> Option<Sector> {
        self.sectors.get(drive).copied()
    }

    /// Opens drive number `drive`; its slot, and how large it is. `None` if there is none.
    pub fn open(&self, files: &mut Files, drive: usize) -> Option<(Slot, Sector)> {
        let sectors = *self.sectors.get(drive)?;
        let slot = files.add();
        self.open.borrow_mut().push((slot, drive));
        Some((slot, sectors))
    }

    fn drive(&self, slot: Slot) -> Option<usize> {
        let open = self.open.borrow();
        open.iter()
            .find(|(other, _)| *other == slot)
            .map(|(_, drive)| *drive)
    }
}

/// Something that could happen to a process next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Possible {
    /// It runs.
    Turn,
    /// Bytes of xenstore, or an upcall, come or go.
    Stream(OpId),
    /// A drive finishes an operation.
    Drive(OpId),
}

/// See the head of this file.
pub struct Running {
    /// The guest it serves.
    pub domid: DomId,
    process: Box<dyn Process>,
    files: Files,
    completions: Vec<Completion>,
    client: ClientId,
    upcall: File,
    /// The upcall was read, and not yet told to the process.
    rung: bool,
    store: ConnId,
    /// Bytes of xenstore on their way to the process.
    inbox: Vec<u8>,
    events: Slot,
    drives: DriveSlots,
    again: bool,
}

impl Running {
    /// Starts a process for a guest.
    pub fn start(
        host: &Host,
        domid: DomId,
        drives: &[Drive],
        spawn: &Spawn<'_>,
    ) -> Result<Self, crate::live::Error> {
        let Backend {
            platform,
            upcall,
            client,
        } = host.attach_backend(domid)?;
        let mut files = Files::new();
        let (events, store) = (files.add(), files.add());
        let drives = DriveSlots::new(drives);
        let start = Start {
            domid,
            platform,
            files: &mut files,
            events,
            store,
            drives: drives.clone(),
        };
        Ok(Self {
            domid,
            process: spawn(start),
            files,
            completions: Vec::new(),
            client,
            upcall: upcall.into(),
            rung: false,
            store: host.store(DomId::DOM0),
            inbox: Vec::new(),
            events,
            drives,
            again: true,
        })
    }

    /// What could happen next, in an order that depends on nothing but the past.
    pub fn possible(&mut self, host: &Host, all: &mut Vec<Possible>) {
        self.rung |= self.upcall.read(&mut [0; 8]).is_ok();
        self.inbox.append(&mut host.store_output(self.store));
        if self.again || self.files.is_ready() {
            all.push(Possible::Turn);
        }
        for (id, operation) in self.files.pending() {
            match operation.verb {
                Verb::Send => all.push(Possible::Stream(id)),
                Verb::Receive | Verb::Ready if self.has_input(operation.slot) => {
                    all.push(Possible::Stream(id));
                }
                Verb::Receive | Verb::Ready => {}
                Verb::ReadAt | Verb::WriteAt | Verb::Sync => all.push(Possible::Drive(id)),
            }
        }
    }

    /// One step of the process.
    pub fn turn(&mut self, trace: &mut Trace) -> Progress {
        self.files.wait(Sleep::UntilWork, &mut self.completions);
        let told = self.completions.len() as u64;
        let progress = self.process.turn(&mut self.files, &mut self.completions);
        self.again = progress == Progress::Again;
        trace.note("turn", &[self.domid.0.into(), told, self.again.into()]);
        progress
    }

    /// Moves bytes of xenstore, a few at a time, or delivers the upcall.
    pub fn stream(&mut self, host: &Host, id: OpId, rng: &mut Rng, trace: &mut Trace) {
        let Some(operation) = self.files.operation(id) else {
            return;
        };
        let most = usize::try_from(1 + rng.below(PIECE_BYTES)).unwrap_or(1);
        let moved = match operation.verb {
            Verb::Send => send(host, self.store, operation, most),
            Verb::Ready => 0,
            _ if operation.slot == self.events => {
                self.rung = false;
                fill(operation, &1u64.to_ne_bytes())
            }
            _ => {
                let piece = most.min(self.inbox.len()).min(operation.range.len());
                let bytes: Vec<u8> = self.inbox.drain(..piece).collect();
                fill(operation, &bytes)
            }
        };
        trace.note("stream", &[self.domid.0.into(), id.0, moved as u64]);
        self.files.finish(id, Ok(moved));
    }

    /// Lets a drive finish an operation as `fate` says. False if there is none of that name.
    pub fn drive(&mut self, drives: &mut [Drive], id: OpId, fate: Fate, trace: &mut Trace) -> bool {
        let Some(operation) = self.files.operation(id) else {
            return false;
        };
        let drive = self
            .drives
            .drive(operation.slot)
            .and_then(|drive| drives.get_mut(drive));
        let Some(drive) = drive else { return false };
        let result = drive.serve(operation, fate);
        let told = result.map_or_else(|errno| u64::from(errno.unsigned_abs()) << 32, |n| n as u64);
        trace.note(
            "drive",
            &[self.domid.0.into(), id.0, operation.offset, told],
        );
        self.files.finish(id, result)
    }

    /// Whether an operation is not the oldest one of its process on any drive.
    pub fn overtakes(&self, id: OpId) -> bool {
        let is_drive = |verb| matches!(verb, Verb::ReadAt | Verb::WriteAt);
        let oldest = self
            .files
            .pending()
            .find(|(_, operation)| is_drive(operation.verb));
        oldest.is_some_and(|(oldest, _)| oldest < id)
    }

    /// Which drive a pending operation is for.
    pub fn drive_of(&self, id: OpId) -> Option<usize> {
        self.drives.drive(self.files.operation(id)?.slot)
    }

    /// Whether something that could happen is the end of an operation on this drive.
    pub fn is_of_drive(&self, what: Possible, drive: usize) -> bool {
        matches!(what, Possible::Drive(id) if self.drive_of(id) == Some(drive))
    }

    /// The drives that the process has open.
    pub fn drives_open(&self) -> Vec<usize> {
        let open = self.drives.open.borrow();
        let open = open.iter().filter(|(slot, _)| self.files.is_open(*slot));
        open.map(|(_, drive)| *drive).collect()
    }

    /// Images that the process has open: all its files but events and xenstore.
    pub fn images_open(&self) -> usize {
        self.files.open_files().saturating_sub(2)
    }

    /// What a pending operation does.
    pub fn verb(&self, id: OpId) -> Option<Verb> {
        self.files.operation(id).map(|operation| operation.verb)
    }

    /// The bytes an operation moves.
    pub fn len_bytes(&self, id: OpId) -> usize {
        self.files
            .operation(id)
            .map_or(0, |operation| operation.range.len())
    }

    /// Operations that a drive still has.
    pub fn in_drives(&self) -> usize {
        let is_drive = |verb| matches!(verb, Verb::ReadAt | Verb::WriteAt | Verb::Sync);
        self.files
            .pending()
            .filter(|(_, operation)| is_drive(operation.verb))
            .count()
    }

    /// Its next deadline.
    pub fn deadline(&self) -> Option<u64> {
        self.files.next_deadline()
    }

    /// Time passes.
    pub fn advance_to(&mut self, now_ns: u64) {
        self.files.advance_to(now_ns);
    }

    /// The process is gone, by itself or not.
    pub fn bury(self, host: &Host) {
        let Self {
            process,
            client,
            store,
            ..
        } = self;
        drop(process);
        host.store_close(store);
        host.kill(client);
    }

    fn has_input(&self, slot: Slot) -> bool {
        if slot == self.events {
            self.rung
        } else {
            !self.inbox.is_empty()
        }
    }
}

/// Gives xenstore what the process sends, up to `most` bytes.
fn send(host: &Host, store: ConnId, operation: &Submission, most: usize) -> usize {
    let len = most.min(operation.range.len());
    let mut bytes = vec![0; len];
    let lease = operation.lease.as_ref().map(reactor::Lease::slice);
    if lease.is_some_and(|lease| lease.read_slice(&mut bytes, operation.range.start).is_ok()) {
        host.store_input(store, &bytes);
    }
    len
}

/// Puts bytes into the memory an operation was lent.
fn fill(operation: &Submission, bytes: &[u8]) -> usize {
    let len = bytes.len().min(operation.range.len());
    let lease = operation.lease.as_ref().map(reactor::Lease::slice);
    let filled = lease.map(|lease| lease.write_slice(&bytes[..len], operation.range.start));
    debug_assert!(matches!(filled, Some(Ok(()))), "a receive has memory");
    len
}
