//! Requests on the ring and back.
//!
//! Invariant: after the ring was found empty and the wish for an event left in it, the next
//! response brings one.

use abi::io::blkif::{
    MAX_SEGMENTS, RESPONSE_MAX, RawRequest, RawSegment, Response, SECTORS_PER_PAGE,
};
use abi::{Gfn, GrantRef};
use ring::Notify;
use vm_memory::VolatileSlice;

use super::pages::{self, Sectors};
use super::shadow::{Entry, Named};
use super::{Blkfront, Done, Io, Kernel, Kind, Outcome, Phase, Refused, Violation};

impl Blkfront {
    /// Puts a request on the ring, where the backend sees it after [`Blkfront::kick`]. `fill`
    /// writes the sectors of a write, counted from 0.
    pub fn submit(
        &mut self,
        kernel: &mut Kernel<'_>,
        io: Io,
        fill: impl FnMut(u32, VolatileSlice<'_>),
    ) -> Result<(), Refused> {
        if self.phase != Phase::Connected {
            return Err(Refused::NotConnected);
        }
        let count = io.pages().ok_or(Refused::Size)?;
        let connection = self.connection.as_ref().ok_or(Refused::NotConnected)?;
        if !connection.shadow.has_room() || connection.ring.free() == 0 {
            return Err(Refused::RingFull);
        }
        let pages = self.lend(kernel, count, io.kind == Kind::Write)?;
        match io.kind {
            Kind::Write => Sectors::new(kernel.memory, &io, &pages).each(fill),
            Kind::Read => pages::poison(kernel.memory, &pages),
            Kind::Flush => {}
        }
        self.put(io, pages);
        Ok(())
    }

    /// Shows what was submitted to the backend, and tells it if it asked to be told.
    pub fn kick(&mut self, kernel: &mut Kernel<'_>) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        if connection.ring.publish() == Notify::Peer {
            self.counts.notifications += 1;
            // A port that cannot be notified is one whose backend is gone; its state says so.
            drop(kernel.events.notify(connection.port));
        }
    }

    /// Takes an event on the port: looks for responses until there are none and the backend knows
    /// that an event is wanted for the next.
    pub fn kicked(&mut self, kernel: &mut Kernel<'_>) {
        let Some(port) = self.port() else { return };
        self.counts.events += 1;
        drop(kernel.events.unmask(port));
        let before = self.finished.len();
        self.reap(kernel);
        if self.finished.len() == before {
            self.counts.spurious += 1;
        }
        if self.phase == Phase::Closing {
            self.react(kernel);
        }
    }

    /// Shows the next request that is over, with its data, to `look`, and gives its pages back.
    pub fn next_done<R>(
        &mut self,
        kernel: &mut Kernel<'_>,
        look: impl FnOnce(&Done, &Sectors<'_>) -> R,
    ) -> Option<R> {
        let (entry, outcome) = self.finished.pop_front()?;
        let sectors = Sectors::new(kernel.memory, &entry.io, &entry.pages);
        if entry.io.kind == Kind::Read {
            self.violations
                .extend(sectors.outside().map(Violation::OutsideSegment));
        }
        let seen = look(
            &Done {
                io: entry.io,
                outcome,
            },
            &sectors,
        );
        for (gref, gfn) in entry.pages {
            if !self.held.contains(&(gref, gfn)) {
                kernel.frames.give(gfn);
            }
        }
        Some(seen)
    }

    /// Takes the grants of a request back and queues it for its owner.
    pub(super) fn retire(&mut self, kernel: &mut Kernel<'_>, entry: Entry, outcome: Outcome) {
        for (gref, gfn) in &entry.pages {
            self.end_grant(kernel, *gref, *gfn);
        }
        self.finished.push_back((entry, outcome));
    }

    /// Lends `count` scattered pages to the backend: read-only where the disk is to be written.
    fn lend(
        &mut self,
        kernel: &mut Kernel<'_>,
        count: usize,
        readonly: bool,
    ) -> Result<Vec<(GrantRef, Gfn)>, Refused> {
        let domid = self.backend.as_ref().map(|backend| backend.domid);
        let domid = domid.ok_or(Refused::NotConnected)?;
        let mut pages = Vec::with_capacity(count);
        for _ in 0..count {
            let Some(gfn) = kernel.frames.take() else {
                break;
            };
            match kernel.grants.grant(domid, gfn, readonly) {
                Some(gref) => pages.push((gref, gfn)),
                None => kernel.frames.give(gfn),
            }
        }
        if pages.len() == count {
            return Ok(pages);
        }
        for (gref, gfn) in pages {
            if self.end_grant(kernel, gref, gfn) {
                kernel.frames.give(gfn);
            }
        }
        Err(Refused::NoMemory)
    }

    fn put(&mut self, io: Io, pages: Vec<(GrantRef, Gfn)>) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        let mut request = RawRequest {
            operation: io.kind.operation(),
            nr_segments: u8::try_from(pages.len()).unwrap_or(u8::MAX),
            sector_number: io.sector,
            segments: segments(&io, &pages),
            ..RawRequest::default()
        };
        request.id = connection.shadow.insert(Entry { io, pages });
        connection.ring.put(&request.encode(self.config.protocol));
        self.counts.requests += 1;
    }

    /// Takes all responses. Bounded: no more than what is in flight can be answered.
    pub(super) fn reap(&mut self, kernel: &mut Kernel<'_>) {
        let mut slot = [0; RESPONSE_MAX];
        loop {
            let Some(connection) = &mut self.connection else {
                return;
            };
            let found = connection.ring.refresh();
            if found.is_ok_and(|found| found > 0) && connection.ring.take(&mut slot) {
                self.answer(kernel, Response::decode(&slot));
                continue;
            }
            match found.and_then(|_| connection.ring.arm()) {
                Ok(true) => {}
                Ok(false) => return,
                Err(corrupt) => return self.corrupt(corrupt),
            }
        }
    }

    fn answer(&mut self, kernel: &mut Kernel<'_>, response: Response) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        match connection.shadow.remove(response.id) {
            Named::UnderWay(entry) => {
                let (asked, answered) = (entry.io.kind.operation(), response.operation);
                if asked != answered {
                    self.violations
                        .push(Violation::WrongOperation { asked, answered });
                }
                self.retire(kernel, entry, Outcome::Answered(response.status));
            }
            Named::Answered => self.violations.push(Violation::Duplicate(response.id)),
            Named::Unknown => self.violations.push(Violation::UnknownId(response.id)),
        }
    }
}

/// A request's segments: the first page from `first_sect`, whole pages, the last as far as needed.
fn segments(io: &Io, pages: &[(GrantRef, Gfn)]) -> [RawSegment; MAX_SEGMENTS] {
    let mut segments = [RawSegment::default(); MAX_SEGMENTS];
    let mut left = io.sectors;
    let mut first_sect = io.first_sect;
    for (segment, (gref, _)) in segments.iter_mut().zip(pages) {
        let count = left.min(u32::from(SECTORS_PER_PAGE - first_sect));
        let last_sect = first_sect + u8::try_from(count).unwrap_or(0).saturating_sub(1);
        *segment = RawSegment {
            gref: *gref,
            first_sect,
            last_sect,
        };
        left -= count;
        first_sect = 0;
    }
    segments
}
