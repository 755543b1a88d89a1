//! A block frontend that behaves like Linux's: single-page ring, scattered data pages, eleven
//! segments, notifications only where the event index asks for them.
//!
//! It negotiates (`handshake`), carries requests (`io`) and keeps what it asked for (`shadow`).
//! Data comes from and goes to closures of its owner: it knows nothing of what is on the disk.
//!
//! Invariant: a page is lent to the backend exactly from the submission of a request to its
//! response; whatever a backend does against the protocol ends up in [`Blkfront::violations`].

use std::collections::VecDeque;

use abi::io::blkif::Protocol;
use abi::io::xenbus::XenbusState;
use abi::{DomId, Gfn, GrantRef, Port};
use ring::{Front, SharedPages};
use vm_memory::VolatileSlice;
use xenstore::{BatchId, Path};

use super::Kernel;
use crate::memory::Page;
use shadow::{Entry, Shadow};

mod connection;
mod handshake;
mod io;
mod pages;
mod properties;
mod request;
mod shadow;
mod violation;

pub use pages::Sectors;
pub use properties::Properties;
pub use request::{Done, Io, Kind, Outcome, Refused, SECTORS_MAX};
pub use violation::Violation;

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
