//! A block frontend that behaves like Linux's: single-page ring, scattered data pages, eleven
//! segments, notifications only where the event index asks for them.
//!
//! It negotiates (`handshake`), carries requests (`io`) and keeps what it asked for (`shadow`).
//! Data comes from and goes to closures of its owner: it knows nothing of what is on the disk.
//!
//! Invariant: a page is lent to the backend exactly from the submission of a request to its
//! response; whatever a backend does against the protocol ends up in [`Blkfront::violations`].

use std::collections::VecDeque;

use abi::io::blkif::{Operation, Protocol, SECTORS_PER_PAGE, Status};
use abi::io::xenbus::XenbusState;
use abi::{DomId, Gfn, GrantRef, Port, Sector};
use ring::{Corrupt, Front, SharedPages};
use vm_memory::VolatileSlice;
use xenstore::{BatchId, Path};

use super::Kernel;
use crate::memory::Page;
use shadow::{Entry, Shadow};

mod handshake;
mod io;
mod pages;
mod shadow;

pub use pages::Sectors;

/// Most sectors of one request: eleven pages.
pub const SECTORS_MAX: u32 = 88;

/// How a frontend presents itself.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its directory in xenstore, such as `device/vbd/51712`.
    pub directory: Path,
    /// The layout of its requests.
    pub protocol: Protocol,
    /// Whether it names that layout. One that does not is taken for x86_64.
    pub name_protocol: bool,
    /// Nodes to publish with another value than the right one, or not at all: for lies.
    pub overrides: Vec<(&'static str, Option<Vec<u8>>)>,
}

impl Config {
    /// An honest 64-bit frontend in `directory`.
    pub fn new(directory: Path) -> Self {
        Self {
            directory,
            protocol: Protocol::X86_64,
            name_protocol: true,
            overrides: Vec::new(),
        }
    }
}

/// How far a frontend has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not started.
    Off,
    /// Finding its backend, or waiting for it to reach InitWait.
    Waiting,
    /// Its ring is being published, or is, and the backend has not connected.
    Initialised,
    /// Requests are taken.
    Connected,
    /// No new requests; those under way are waited for.
    Closing,
    /// Its state is Closed; the backend has not let go of the ring.
    Closed,
    /// Nothing is lent to the backend. It can be connected again.
    Down,
    /// It gave up; why.
    Failed(String),
}

/// What a backend says of its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Properties {
    /// Capacity.
    pub sectors: Sector,
    /// Logical sector size in bytes.
    pub sector_size_bytes: u32,
    /// Physical sector size in bytes.
    pub physical_sector_size_bytes: u32,
    /// Whether FLUSH_DISKCACHE is understood.
    pub flush: bool,
    /// Whether writes are refused.
    pub read_only: bool,
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Read.
    Read,
    /// Write.
    Write,
    /// Flush; its range is ignored.
    Flush,
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io {
    /// Do what.
    pub kind: Kind,
    /// From where on the disk.
    pub sector: Sector,
    /// How much: with `first_sect` at most [`SECTORS_MAX`], 0 for a flush alone.
    pub sectors: u32,
    /// Where in its first page the data starts, below 8.
    pub first_sect: u8,
    /// The owner's name for it.
    pub token: u64,
}

/// A request that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The request.
    pub io: Io,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend answered.
    Answered(Status),
    /// The connection ended before it was answered: a write may have happened or not.
    Lost,
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not connected.
    #[error("the frontend is not connected")]
    NotConnected,
    /// All slots are in use.
    #[error("the ring is full")]
    RingFull,
    /// The guest has no free frame or grant.
    #[error("the guest is out of frames or grants")]
    NoMemory,
    /// No data, or more than eleven pages hold.
    #[error("a request of an impossible size")]
    Size,
}

/// The backend broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A response to nothing that was ever asked.
    #[error("response with the unknown id {0:#x}")]
    UnknownId(u64),
    /// A second response to one request.
    #[error("second response with the id {0:#x}")]
    Duplicate(u64),
    /// A response that names another operation than the request.
    #[error("response to {asked} that says {answered}")]
    WrongOperation {
        /// Of the request.
        asked: Operation,
        /// Of the response.
        answered: Operation,
    },
    /// A page still in use after the response that ended its request, or after the connection.
    #[error("grant {0} still in use by the backend")]
    GrantInUse(GrantRef),
    /// A read wrote to a part of a page that was not asked for.
    #[error("page content changed outside of the segment at sector {0} of the page")]
    OutsideSegment(u8),
    /// The response index moved where it must not.
    #[error("{0}")]
    Ring(Corrupt),
}

/// What a frontend counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests put on the ring.
    pub requests: u64,
    /// Notifications sent.
    pub notifications: u64,
    /// Events received.
    pub events: u64,
    /// Of these, the ones that brought no response.
    pub spurious: u64,
}

/// The frontend.
#[derive(Debug)]
pub struct Blkfront {
    config: Config,
    phase: Phase,
    backend: Option<Backend>,
    /// The backend's state as last read.
    theirs: XenbusState,
    /// Reads under way in xenstore, by purpose.
    asking: Vec<(BatchId, Question)>,
    /// The backend's state changed while it was being read.
    read_again: bool,
    connection: Option<Connection>,
    properties: Option<Properties>,
    /// Requests that are over and whose data the owner has not seen.
    finished: VecDeque<(Entry, Outcome)>,
    /// Grants that could not be ended when they should have been, with their frames.
    held: Vec<(GrantRef, Gfn)>,
    violations: Vec<Violation>,
    counts: Counts,
}

#[derive(Debug)]
struct Backend {
    path: Path,
    domid: DomId,
}

/// Why xenstore was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Backend,
    State,
    Publish,
    Properties,
}

/// A ring and what hangs on it.
#[derive(Debug)]
struct Connection {
    ring: Front<RingPage>,
    gref: GrantRef,
    port: Port,
    shadow: Shadow,
}

/// A guest's frame as the owner of a ring's memory.
#[derive(Debug)]
struct RingPage(Page);

impl SharedPages for RingPage {
    fn slice(&self) -> VolatileSlice<'_> {
        self.0.slice()
    }
}

impl Blkfront {
    /// A frontend that has done nothing yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            phase: Phase::Off,
            backend: None,
            theirs: XenbusState::UNKNOWN,
            asking: Vec::new(),
            read_again: false,
            connection: None,
            properties: None,
            finished: VecDeque::new(),
            held: Vec::new(),
            violations: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// How far it has got.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Its port; an event on it goes to [`Blkfront::kicked`].
    pub fn port(&self) -> Option<Port> {
        self.connection.as_ref().map(|connection| connection.port)
    }

    /// The disk, once connected for the first time.
    pub fn properties(&self) -> Option<Properties> {
        self.properties
    }

    /// Requests whose response has not been taken from the ring.
    pub fn in_flight(&self) -> usize {
        self.connection
            .as_ref()
            .map_or(0, |connection| connection.shadow.len())
    }

    /// What the backend did against the protocol.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Gives a page back if the backend has let go of it. Otherwise that is a violation, and the
    /// page stays lent until the connection is over.
    fn end_grant(&mut self, kernel: &mut Kernel<'_>, gref: GrantRef, gfn: Gfn) -> bool {
        let ended = kernel.grants.end(gref).is_ok();
        if !ended {
            self.violations.push(Violation::GrantInUse(gref));
            self.held.push((gref, gfn));
        }
        ended
    }
}

impl Kind {
    /// As it goes on the wire.
    pub fn operation(self) -> Operation {
        match self {
            Self::Read => Operation::READ,
            Self::Write => Operation::WRITE,
            Self::Flush => Operation::FLUSH_DISKCACHE,
        }
    }
}

impl Io {
    /// Pages that it needs, or `None` if it is of an impossible size.
    pub fn pages(&self) -> Option<usize> {
        if self.kind == Kind::Flush {
            return Some(0);
        }
        let end = self.sectors.checked_add(u32::from(self.first_sect))?;
        let possible = self.sectors > 0 && self.first_sect < SECTORS_PER_PAGE && end <= SECTORS_MAX;
        possible.then(|| end.div_ceil(u32::from(SECTORS_PER_PAGE)) as usize)
    }
}

/// What a hostile frontend needs beside an honest one's calls.
impl Blkfront {
    /// The ring page.
    pub(crate) fn ring(&self) -> Option<VolatileSlice<'_>> {
        self.connection
            .as_ref()
            .map(|connection| connection.ring.memory().slice())
    }

    /// The grant of the ring page.
    pub(crate) fn ring_gref(&self) -> Option<GrantRef> {
        self.connection.as_ref().map(|connection| connection.gref)
    }

    /// Whom pages are lent to.
    pub(crate) fn backend_domid(&self) -> Option<DomId> {
        self.backend.as_ref().map(|backend| backend.domid)
    }
}
