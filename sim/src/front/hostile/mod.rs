//! A frontend that means harm: it connects like an honest one, or lies while doing so, and then
//! does what its script says.
//!
//! Everything a guest can do is done through the guest's own memory, grants, port and nodes; the
//! script decides what. It judges nothing: what the backend made of it is for the test to see.
//!
//! Invariant: it takes a bounded number of steps and never waits for an answer.

use std::sync::atomic::{AtomicU32, Ordering};

use abi::io::blkif::{Protocol, RESPONSE_MAX, RawRequest, Response, SLOT_MAX};
use abi::io::ring::{HEADER_SIZE, REQ_PROD, RSP_PROD};
use abi::io::xenbus::XenbusState;
use abi::{Gfn, GrantRef, Port};
use vm_memory::{VolatileMemory, VolatileSlice};
use xenstore::Event;

use super::Kernel;
use super::blkfront::{Blkfront, Config, Phase};

mod catalogue;
mod random;
mod script;

pub use script::{Act, Lie, Page, Script};

/// Slots of the single-page ring that it misuses.
const ENTRIES: u32 = 32;

/// The frontend.
#[derive(Debug)]
pub struct Hostile {
    front: Blkfront,
    protocol: Protocol,
    script: Script,
    next: usize,
    /// Its own idea of the producer index.
    req_prod: u32,
    lent: Vec<(GrantRef, Gfn)>,
}

impl Hostile {
    /// A frontend that will follow `script`, lies in its nodes included.
    pub fn new(mut config: Config, script: Script) -> Self {
        config.overrides.extend(script.lies.iter().cloned());
        let protocol = config.protocol;
        let front = Blkfront::new(config);
        Self {
            front,
            protocol,
            script,
            next: 0,
            req_prod: 0,
            lent: Vec::new(),
        }
    }

    /// Looks for the backend.
    pub fn start(&mut self, kernel: &mut Kernel<'_>) {
        self.front.start(kernel);
    }

    /// Takes an event of the guest's xenstore connection; `false` if it was not for this frontend.
    pub fn store_event(&mut self, kernel: &mut Kernel<'_>, event: &Event) -> bool {
        self.front.store_event(kernel, event)
    }

    /// Its port. Events on it need no answer.
    pub fn port(&self) -> Option<Port> {
        self.front.port()
    }

    /// How far the handshake has got.
    pub fn phase(&self) -> &Phase {
        self.front.phase()
    }

    /// What it does.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// Whether the script is played.
    pub fn finished(&self) -> bool {
        self.next >= self.script.acts.len()
    }

    /// The producer index as the ring shows it.
    pub fn req_prod(&self) -> Option<u32> {
        self.front.ring().map(|ring| load(ring, REQ_PROD))
    }

    /// Responses that the backend published so far, as far as the ring still holds them, oldest
    /// first.
    pub fn responses(&self) -> Vec<Response> {
        let Some(ring) = self.front.ring() else {
            return Vec::new();
        };
        let rsp_prod = load(ring, RSP_PROD);
        let first = rsp_prod.saturating_sub(ENTRIES);
        let slots = (first..rsp_prod).filter_map(|index| self.slot(ring, index));
        let mut bytes = [0; RESPONSE_MAX];
        slots
            .map(|slot| {
                slot.copy_to(&mut bytes);
                Response::decode(&bytes)
            })
            .collect()
    }

    /// Whether [`Hostile::step`] would do something now.
    pub fn can_act(&self) -> bool {
        let has_ring = self.port().is_some();
        let act = self.script.acts.get(self.next);
        act.is_some_and(|act| has_ring || !act.needs_ring() || *self.phase() == Phase::Down)
    }

    /// Plays the next act of the script; nothing before the ring is published. What has lost its
    /// ring asks for another one.
    pub fn step(&mut self, kernel: &mut Kernel<'_>) {
        let Some(act) = self.script.acts.get(self.next).cloned() else {
            return;
        };
        if self.port().is_none() && act.needs_ring() {
            self.req_prod = 0;
            return self.front.reconnect(kernel);
        }
        self.next += 1;
        match act {
            Act::Request { request, page } => self.request(kernel, request, page),
            Act::RawSlot(bytes) => self.put(kernel, &bytes),
            Act::Produce(by) => self.produce(kernel, by),
            Act::Notify(times) => (0..times).for_each(|_| self.notify(kernel)),
            Act::Scribble(words) => self.scribble(words),
            Act::State(state) => self.front.switch(kernel, XenbusState(state)),
            Act::Revoke => self.revoke(kernel),
            Act::Abandon => self.front.abandon(kernel),
        }
    }

    /// Takes back what can be taken back, when its owner has seen enough. Grants that the backend
    /// still uses are returned: there must be none once it has closed.
    pub fn revoke_all(&mut self, kernel: &mut Kernel<'_>) -> Vec<GrantRef> {
        self.revoke(kernel);
        self.lent.iter().map(|(gref, _)| *gref).collect()
    }

    fn request(&mut self, kernel: &mut Kernel<'_>, mut request: RawRequest, page: Page) {
        let gref = match page {
            Page::Lend { readonly } => self.lend(kernel, readonly),
            Page::Last => self.lent.last().map(|(gref, _)| *gref),
            Page::Ring => self.front.ring_gref(),
            Page::AsWritten => None,
        };
        for segment in &mut request.segments {
            segment.gref = gref.unwrap_or(segment.gref);
        }
        self.put(kernel, &request.encode(self.protocol));
    }

    fn put(&mut self, kernel: &mut Kernel<'_>, bytes: &[u8; SLOT_MAX]) {
        if let Some(slot) = self
            .front
            .ring()
            .and_then(|ring| self.slot(ring, self.req_prod))
        {
            slot.copy_from(bytes);
        }
        self.produce(kernel, 1);
    }

    fn produce(&mut self, kernel: &mut Kernel<'_>, by: u32) {
        self.req_prod = self.req_prod.wrapping_add(by);
        if let Some(ring) = self.front.ring() {
            store(ring, REQ_PROD, self.req_prod);
        }
        self.notify(kernel);
    }

    fn notify(&mut self, kernel: &mut Kernel<'_>) {
        if let Some(port) = self.port() {
            // The backend may have closed its end, which is one of the things to find out.
            drop(kernel.events.notify(port));
        }
    }

    fn scribble(&mut self, words: [u32; 4]) {
        if let Some(ring) = self.front.ring() {
            (0..)
                .step_by(4)
                .zip(words)
                .for_each(|(at, word)| store(ring, at, word));
        }
    }

    fn lend(&mut self, kernel: &mut Kernel<'_>, readonly: bool) -> Option<GrantRef> {
        let gfn = kernel.frames.take()?;
        let gref = kernel
            .grants
            .grant(self.front.backend_domid()?, gfn, readonly)?;
        self.lent.push((gref, gfn));
        Some(gref)
    }

    /// Ends all grants that can be ended, whoever counts on them.
    fn revoke(&mut self, kernel: &mut Kernel<'_>) {
        self.lent.retain(|(gref, gfn)| {
            let ended = kernel.grants.end(*gref).is_ok();
            if ended {
                kernel.frames.give(*gfn);
            }
            !ended
        });
    }

    fn slot<'a>(&self, ring: VolatileSlice<'a>, index: u32) -> Option<VolatileSlice<'a>> {
        let stride = self.protocol.stride();
        let at = HEADER_SIZE + (index % ENTRIES) as usize * stride;
        ring.subslice(at, stride).ok()
    }
}

fn load(ring: VolatileSlice<'_>, at: usize) -> u32 {
    ring.get_atomic_ref::<AtomicU32>(at)
        .map_or(0, |word| word.load(Ordering::Acquire))
}

fn store(ring: VolatileSlice<'_>, at: usize, value: u32) {
    if let Ok(word) = ring.get_atomic_ref::<AtomicU32>(at) {
        word.store(value, Ordering::Release);
    }
}
