//! A guest with nothing in it but what the platform's conformance suite asks for.
//!
//! It works on any [`Guest`], live or of a world, and knows nothing of who looks at its pages.
//!
//! Invariant: a page is lent once at a time, and full of zeroes when it is lent.

use std::collections::HashMap;

use abi::event_channel::status;
use abi::{DomId, Gfn, GrantRef, PAGE_SIZE, Port};
use evtchn::EventChannels;
use vm_memory::Bytes;
use xen::conformance::GuestSide;

use crate::live::Guest;
use crate::memory::{Frames, Page};

/// Order in which the guest uses its frames: any will do.
const SEED: u64 = 0x5EED;

/// See the head of this file. Panics where a guest kernel would have nothing better to do.
#[derive(Debug)]
pub struct Probe {
    guest: Guest,
    frames: Frames,
    lent: HashMap<GrantRef, Page>,
}

impl Probe {
    /// A kernel for `guest`.
    pub fn new(guest: Guest) -> Self {
        let frames = Frames::new(&guest.memory, SEED);
        Self {
            guest,
            frames,
            lent: HashMap::new(),
        }
    }

    fn page(&self, gref: GrantRef) -> &Page {
        self.lent.get(&gref).expect("a page that was lent")
    }
}

impl GuestSide for Probe {
    fn domid(&self) -> DomId {
        self.guest.domid
    }

    fn lend(&mut self, to: DomId, readonly: bool) -> GrantRef {
        let gfn: Gfn = self.frames.take().expect("a free frame");
        let page = self.guest.memory.page(gfn).expect("a frame of this guest");
        page.slice()
            .write_slice(&[0; PAGE_SIZE], 0)
            .expect("a whole page");
        let gref = self
            .guest
            .table
            .grant(to, gfn, readonly)
            .expect("a free entry");
        self.lent.insert(gref, page);
        gref
    }

    fn end(&mut self, gref: GrantRef) -> bool {
        let ended = self.guest.table.end(gref).is_ok();
        if ended {
            let page = self.lent.remove(&gref).expect("a page that was lent");
            self.frames.give(page.gfn());
        }
        ended
    }

    fn write(&mut self, gref: GrantRef, offset: usize, bytes: &[u8]) {
        self.page(gref)
            .slice()
            .write_slice(bytes, offset)
            .expect("inside the page");
    }

    fn read(&mut self, gref: GrantRef, offset: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.page(gref)
            .slice()
            .read_slice(&mut bytes, offset)
            .expect("inside the page");
        bytes
    }

    fn offer_port(&mut self, to: DomId) -> Port {
        self.guest.events.bind_unbound(to).expect("a free port")
    }

    fn bind(&mut self, to: DomId, port: Port) -> Port {
        self.guest
            .events
            .bind_interdomain(to, port)
            .expect("a port that was offered")
    }

    fn notify(&mut self, port: Port) {
        self.guest.events.notify(port).expect("an own port");
    }

    fn take_events(&mut self) -> Vec<Port> {
        let mut ports = Vec::new();
        self.guest.events.pending(&[], &mut ports);
        for &port in &ports {
            self.guest.events.unmask(port).expect("an own port");
        }
        ports
    }

    fn is_unbound(&mut self, port: Port) -> bool {
        self.guest.events.status(port).expect("an own port").0 == status::UNBOUND
    }
}
