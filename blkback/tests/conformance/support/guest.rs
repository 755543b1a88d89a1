//! A frontend that does exactly what a test says, right or wrong.

use abi::io::blkif::{
    Operation, Protocol, RESPONSE_MAX, RawRequest, RawSegment, Response, SLOT_MAX, entries,
};
use abi::{DomId, Gfn, GrantRef, Port, Sector};
use ring::{Front, Notify, SharedPages};
use sim::grants::{Entries, Table};
use sim::memory::{Frames, GuestMemory, Page};
use vm_memory::{Bytes, VolatileSlice};

use super::machine::Machine;

/// The guest's end of the event channel.
pub(crate) const PORT: Port = Port(9);

/// Memory of the guest: enough for a ring and every segment of every request.
const MEMORY_BYTES: u64 = 2 << 20;

pub(crate) struct RingPage(Page);

impl SharedPages for RingPage {
    fn slice(&self) -> VolatileSlice<'_> {
        self.0.slice()
    }
}

pub(crate) struct Guest {
    pub(crate) memory: GuestMemory,
    pub(crate) table: Table,
    frames: Frames,
    pub(crate) protocol: Protocol,
    pub(crate) ring: Option<Front<RingPage>>,
    granted: Vec<GrantRef>,
}

/// A page lent to the backend.
#[derive(Clone, Copy)]
pub(crate) struct Buffer {
    pub(crate) gref: GrantRef,
    pub(crate) gfn: Gfn,
}

impl Guest {
    pub(crate) fn new() -> Self {
        let memory = GuestMemory::create(MEMORY_BYTES).expect("memory");
        let table = Table::new(Entries::create(memory.frames()).expect("memory"));
        let frames = Frames::new(&memory, 1);
        let protocol = Protocol::X86_64;
        Self {
            memory,
            table,
            frames,
            protocol,
            ring: None,
            granted: Vec::new(),
        }
    }

    pub(crate) fn machine(&self) -> Machine {
        Machine::new(&self.memory, self.table.entries())
    }

    /// Lends a page.
    pub(crate) fn lend(&mut self, readonly: bool) -> Buffer {
        let gfn = self.frames.take().expect("a free frame");
        let gref = self
            .table
            .grant(DomId::DOM0, gfn, readonly)
            .expect("a free entry");
        self.granted.push(gref);
        Buffer { gref, gfn }
    }

    /// Lends a page full of one byte.
    pub(crate) fn lend_filled(&mut self, byte: u8) -> Buffer {
        let buffer = self.lend(false);
        let frame = self.memory.frame(buffer.gfn).expect("a frame");
        frame.write_slice(&[byte; 4096], 0).expect("a whole page");
        buffer
    }

    /// What a lent page holds.
    pub(crate) fn content(&self, buffer: Buffer) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        let frame = self.memory.frame(buffer.gfn).expect("a frame");
        frame.read_slice(&mut bytes, 0).expect("a whole page");
        bytes
    }

    /// A fresh ring; returns its grant.
    pub(crate) fn make_ring(&mut self) -> GrantRef {
        let buffer = self.lend(false);
        let page = RingPage(self.memory.page(buffer.gfn).expect("a frame"));
        let slots = entries(1, self.protocol);
        self.ring = Some(Front::new(page, slots, self.protocol.stride()).expect("a page"));
        buffer.gref
    }

    pub(crate) fn ring(&mut self) -> &mut Front<RingPage> {
        self.ring.as_mut().expect("a ring")
    }

    /// Fills a slot; the backend sees it with [`Guest::publish`].
    pub(crate) fn put(&mut self, request: &RawRequest) {
        let slot = request.encode(self.protocol);
        self.put_bytes(&slot);
    }

    /// Fills a slot with any bytes.
    pub(crate) fn put_bytes(&mut self, slot: &[u8; SLOT_MAX]) {
        let stride = self.protocol.stride();
        self.ring().put(&slot[..stride]);
    }

    /// Shows the slots to the backend, and kicks it if it asked for that.
    pub(crate) fn publish(&mut self, machine: &Machine) {
        let asked = self.ring().publish() == Notify::Peer;
        asked
            .then_some(())
            .into_iter()
            .for_each(|()| machine.kick(PORT));
    }

    /// Takes all responses, as bytes.
    pub(crate) fn take_bytes(&mut self) -> Vec<[u8; RESPONSE_MAX]> {
        let ring = self.ring();
        let count = ring.refresh().expect("an honest backend");
        (0..count)
            .map(|_| {
                let mut bytes = [0; RESPONSE_MAX];
                assert!(ring.take(&mut bytes), "a response that was announced");
                bytes
            })
            .collect()
    }

    /// Takes all responses, and asks to be told of the next.
    pub(crate) fn take(&mut self) -> Vec<Response> {
        let responses = self.take_bytes().iter().map(Response::decode).collect();
        assert_eq!(self.ring().arm(), Ok(false));
        responses
    }

    /// Takes back every page; the number of those that the backend still holds.
    pub(crate) fn take_pages_back(&mut self) -> usize {
        let granted = std::mem::take(&mut self.granted);
        granted
            .into_iter()
            .filter(|gref| self.table.end(*gref).is_err())
            .count()
    }
}

/// A request for whole pages.
pub(crate) fn request(operation: Operation, id: u64, sector: u64, pages: &[Buffer]) -> RawRequest {
    let mut segments = [RawSegment::default(); 11];
    for (segment, page) in segments.iter_mut().zip(pages) {
        *segment = RawSegment {
            gref: page.gref,
            first_sect: 0,
            last_sect: 7,
        };
    }
    RawRequest {
        operation,
        nr_segments: u8::try_from(pages.len()).expect("at most 11 pages"),
        handle: 0,
        id,
        sector_number: Sector(sector),
        segments,
    }
}
