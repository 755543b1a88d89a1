//! What lies where in the memory that a client shares with the host and with its peers.
//!
//! One sparse file per client holds its grant table (guests only), its event channel control
//! block, event array and queue locks, and the list of its ports' peers. It knows nothing of who
//! reads what.
//!
//! Invariant: the parts do not overlap and each starts on a page.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use abi::event_channel::fifo::NR_CHANNELS;
use abi::{PAGE_SIZE, Port};
use evtchn::SharedMemory;
use evtchn::fifo::{Consumer, PRIVATE_BYTES, Queues};
use vm_memory::{VolatileMemory, VolatileSlice};

use crate::grants;
use crate::memory::{Region, Window};

/// The grant table starts here.
const GRANTS: usize = 0;

/// What serves events starts here, and the places of its parts count from here.
pub(super) const EVENTS: usize = GRANTS + grants::LEN_BYTES;

/// The event channel control block.
const CONTROL: usize = 0;

/// The event array.
const ARRAY: usize = CONTROL + PAGE_SIZE;
const ARRAY_BYTES: usize = NR_CHANNELS * size_of::<u32>();

/// What the hypervisor keeps to itself on Xen; here the senders share it.
pub(super) const PRIVATE: usize = ARRAY + ARRAY_BYTES;

/// What a peer maps ends here: the queues that it links events into.
const QUEUES_BYTES: usize = (PRIVATE + PRIVATE_BYTES).next_multiple_of(PAGE_SIZE);

/// The list of peers: one word for each port.
const LINKS: usize = QUEUES_BYTES;

/// What the owner maps for its events ends here.
const EVENTS_BYTES: usize = LINKS + NR_CHANNELS * size_of::<u64>();

/// Bytes of the whole.
pub(super) const LEN_BYTES: usize = EVENTS + EVENTS_BYTES;

const _: () = assert!(LINKS.is_multiple_of(PAGE_SIZE) && EVENTS.is_multiple_of(PAGE_SIZE));
const _: () = assert!(ARRAY.is_multiple_of(PAGE_SIZE) && PRIVATE.is_multiple_of(PAGE_SIZE));

/// Maps what a peer needs to send events. Page tables are memory, too: a process that maps a part has
/// fewer than one that maps the whole.
pub(super) fn map_queues(shared: &Region) -> io::Result<Window> {
    shared.map_part(EVENTS, QUEUES_BYTES)
}

/// Maps what the owner needs to send and take events.
pub(super) fn map_events(shared: &Region) -> io::Result<Window> {
    shared.map_part(EVENTS, EVENTS_BYTES)
}

/// Maps a guest's grant table alone.
pub(super) fn map_grants(shared: &Region) -> io::Result<Window> {
    shared.map_part(GRANTS, grants::LEN_BYTES)
}

/// A part of a client's shared memory.
#[derive(Clone, Debug)]
pub(super) struct Part {
    window: Window,
    offset: usize,
    len: usize,
}

impl Part {
    /// Refuses a window that the part does not fit in.
    fn new(window: &Window, offset: usize, len: usize) -> io::Result<Self> {
        window
            .slice()
            .subslice(offset, len)
            .map_err(io::Error::other)?;
        Ok(Self {
            window: window.clone(),
            offset,
            len,
        })
    }
}

impl SharedMemory for Part {
    fn slice(&self) -> VolatileSlice<'_> {
        self.window
            .slice()
            .subslice(self.offset, self.len)
            .expect("checked when made")
    }
}

/// The queues that events for this client are linked into.
pub(super) fn queues(window: &Window) -> io::Result<Queues<Part>> {
    let control = Part::new(window, CONTROL, PAGE_SIZE)?;
    let array = Part::new(window, ARRAY, ARRAY_BYTES)?;
    let private = Part::new(window, PRIVATE, PRIVATE_BYTES)?;
    Queues::new(control, array, private).map_err(io::Error::other)
}

/// The side that takes events out of those queues.
pub(super) fn consumer(window: &Window) -> io::Result<Consumer<Part>> {
    let control = Part::new(window, CONTROL, PAGE_SIZE)?;
    let array = Part::new(window, ARRAY, ARRAY_BYTES)?;
    Consumer::new(control, array).map_err(io::Error::other)
}

/// Names the other end of a port: whose event array, and which port of it. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) array: u32,
    pub(super) port: Port,
}

impl Link {
    pub(super) fn encode(self) -> u64 {
        u64::from(self.array) << 32 | u64::from(self.port.0)
    }

    pub(super) fn decode(word: u64) -> Option<Self> {
        let array = u32::try_from(word >> 32).ok().filter(|&array| array != 0)?;
        let port = u32::try_from(word & u64::from(u32::MAX)).ok()?;
        Some(Self {
            array,
            port: Port(port),
        })
    }
}

/// The words that say where each port of a client leads. The host writes them, the client reads
/// them before each notification; 0 means nobody.
#[derive(Debug)]
pub(super) struct Links {
    window: Window,
}

impl Links {
    pub(super) fn new(window: Window) -> Self {
        Self { window }
    }

    /// Where `port` leads, as [`Link::encode`] writes it.
    pub(super) fn load(&self, port: Port) -> u64 {
        self.word(port, |word| word.load(Ordering::Acquire))
            .unwrap_or(0)
    }

    /// Makes `port` lead to `link`, or nowhere.
    pub(super) fn store(&self, port: Port, link: Option<Link>) {
        self.word(port, |word| {
            word.store(link.map_or(0, Link::encode), Ordering::Release);
        });
    }

    fn word<T>(&self, port: Port, access: impl FnOnce(&AtomicU64) -> T) -> Option<T> {
        let index = usize::try_from(port.0)
            .ok()
            .filter(|&index| index < NR_CHANNELS)?;
        let at = LINKS + index * size_of::<u64>();
        self.window.slice().get_atomic_ref(at).ok().map(access)
    }
}
