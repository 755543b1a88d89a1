//! Both sides of every claim as values of this process: the guest is domain 0 too.
//!
//! What the kernel does later is waited for. It delivers an event when the processor that the port
//! is bound to takes its interrupt, and ends a grant that was in use within a second of its last
//! use; no call waits for either.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use abi::event_channel::status;
use abi::grant_table::gntst;
use abi::{DomId, GrantRef, Port};
use evtchn::EventChannels as _;
use evtchn::linux::Evtchn;
use vm_memory::{Bytes as _, VolatileSlice};
use xen::conformance::{BackendSide, Fixture, GuestSide};
use xen::linux::gntalloc::{Gntalloc, Page};
use xen::linux::privcmd::Privcmd;
use xen::linux::{self, Gntdev, Xenbus};
use xen::{Access, CopyOp, Direction, GrantStatus, Grants as _, Platform};
use xenstore::{Batch, Event, Reply, StoreError};

/// How long an event may be on its way. The kernel itself holds one back for 40 ms after a busy
/// moment, and this machine may be an emulated one.
const DELIVERY: Duration = Duration::from_millis(1500);
/// How long the next one of several may be on its way, once the first is there.
const NEXT: Duration = Duration::from_millis(150);
/// How long the end of a grant may take: the kernel looks each second.
const ENDING: Duration = Duration::from_secs(4);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Why nothing can be shown here, if so.
pub(crate) fn missing() -> Option<String> {
    let opened = Guest::open()
        .map(drop)
        .and_then(|()| Backend::open().map(drop));
    opened.err().map(|error| error.to_string())
}

/// Makes guests and backends of this process.
pub(crate) struct Loopback;

impl Fixture for Loopback {
    fn guest(&self) -> Box<dyn GuestSide> {
        Box::new(Guest::open().expect("opened before"))
    }

    fn backend(&self, _guest: &dyn GuestSide) -> Box<dyn BackendSide> {
        Box::new(Backend::open().expect("opened before"))
    }
}

/// The guest's side.
pub(crate) struct Guest {
    gntalloc: Gntalloc,
    lent: BTreeMap<GrantRef, Page>,
    evtchn: Evtchn,
    events: File,
    privcmd: Privcmd,
    /// Looks at grants as the other side does.
    gntdev: Gntdev,
}

impl Guest {
    fn open() -> Result<Self, linux::Error> {
        let evtchn = evtchn()?;
        Ok(Self {
            gntalloc: Gntalloc::open()?,
            lent: BTreeMap::new(),
            events: File::from(evtchn.descriptor().expect("duplicating")),
            evtchn,
            privcmd: Privcmd::open()?,
            gntdev: Gntdev::open()?,
        })
    }

    fn page(&self, gref: GrantRef) -> VolatileSlice<'_> {
        self.lent[&gref].slice()
    }

    fn is_granted(&mut self, gref: GrantRef) -> bool {
        let mut byte = [0];
        let mut op = [CopyOp {
            direction: Direction::FromGuest,
            domid: DomId::DOM0,
            gref,
            offset: 0,
            len: 1,
            local: 0,
            status: GrantStatus::default(),
        }];
        self.gntdev
            .copy(VolatileSlice::from(byte.as_mut_slice()), &mut op);
        op[0].status == GrantStatus(gntst::OKAY)
    }
}

fn evtchn() -> Result<Evtchn, linux::Error> {
    // The platform's own opening has the texts for what may be wrong.
    linux::backend(DomId::DOM0).map(drop)?;
    Ok(Evtchn::open().expect("opened before"))
}

/// Everything that the descriptor gives until it has been quiet for some time.
fn read_all(mut events: &File) -> Vec<u8> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 64]);
    let mut until = Instant::now() + DELIVERY;
    while Instant::now() < until {
        match events.read(&mut chunk) {
            Ok(len) => {
                bytes.extend(&chunk[..len]);
                until = Instant::now() + NEXT;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(LOOK),
            Err(error) => panic!("reading the event descriptor: {error}"),
        }
    }
    bytes
}

impl GuestSide for Guest {
    fn domid(&self) -> DomId {
        DomId::DOM0
    }

    fn lend(&mut self, to: DomId, readonly: bool) -> GrantRef {
        let access = match readonly {
            true => Access::ReadOnly,
            false => Access::ReadWrite,
        };
        let page = self.gntalloc.grant(to, access).expect("a free entry");
        let gref = page.gref();
        self.lent.insert(gref, page);
        gref
    }

    /// The page's own value goes first, whatever comes of it: the kernel then ends the grant as
    /// soon as it can, and what can be seen is whether it has.
    fn end(&mut self, gref: GrantRef) -> bool {
        drop(self.lent.remove(&gref));
        let begun = Instant::now();
        while self.is_granted(gref) {
            if begun.elapsed() > ENDING {
                return false;
            }
            sleep(LOOK);
        }
        true
    }

    fn write(&mut self, gref: GrantRef, offset: usize, bytes: &[u8]) {
        let written = self.page(gref).write_slice(bytes, offset);
        written.expect("inside the page");
    }

    fn read(&mut self, gref: GrantRef, offset: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let read = self.page(gref).read_slice(&mut bytes, offset);
        read.expect("inside the page");
        bytes
    }

    fn offer_port(&mut self, to: DomId) -> Port {
        self.evtchn.bind_unbound(to).expect("a free port")
    }

    fn bind(&mut self, to: DomId, port: Port) -> Port {
        let bound = self.evtchn.bind_interdomain(to, port);
        bound.expect("a port that was offered")
    }

    fn notify(&mut self, port: Port) {
        self.evtchn.notify(port).expect("an own port");
    }

    fn take_events(&mut self) -> Vec<Port> {
        let mut ports = Vec::new();
        self.evtchn.pending(&read_all(&self.events), &mut ports);
        self.evtchn.unmask_all(&ports).expect("own ports");
        ports
    }

    fn is_unbound(&mut self, port: Port) -> bool {
        let told = self.privcmd.event_channel_status(DomId::DOM0, port);
        told.expect("an own port").status == status::UNBOUND
    }
}

/// The backend's side.
pub(crate) struct Backend {
    platform: Platform,
    events: File,
    store: Xenbus,
    seen: VecDeque<Event>,
}

impl Backend {
    fn open() -> Result<Self, linux::Error> {
        let (platform, descriptors) = linux::backend(DomId::DOM0)?;
        drop::<OwnedFd>(descriptors.store);
        Ok(Self {
            platform,
            events: File::from(descriptors.events),
            store: Xenbus::open()?,
            seen: VecDeque::new(),
        })
    }
}

impl BackendSide for Backend {
    fn platform(&mut self) -> &mut Platform {
        &mut self.platform
    }

    fn read_events(&mut self) -> Vec<u8> {
        read_all(&self.events)
    }

    fn run(&mut self, batch: Batch) -> Vec<Result<Reply, StoreError>> {
        let id = self.store.submit(batch);
        loop {
            match self.store.next_event().expect("the store is there") {
                Event::Replies { batch, replies } if batch == id => return replies,
                event => self.seen.push_back(event),
            }
        }
    }

    fn next_watch(&mut self) -> Event {
        let seen = self.seen.pop_front();
        seen.unwrap_or_else(|| self.store.next_event().expect("the store is there"))
    }
}
