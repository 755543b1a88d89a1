//! A hypervisor for one guest and one process: grants checked against the guest's own table, event
//! channels with masking. Counts what the tests ask about.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use abi::grant_table::gntst;
use abi::{DomId, GrantRef, Port};
use evtchn::EventChannels;
use sim::grants::{Entries, Pins};
use sim::memory::{GuestMemory, Page};
use vm_memory::VolatileSlice;
use xen::{Access, CopyOp, Direction, GrantStatus, Grants, MapError, Mapped, Platform};

/// The hypervisor's books; clones share them.
#[derive(Clone)]
pub(crate) struct Machine {
    books: Rc<RefCell<Books>>,
}

/// What the hypervisor knows.
pub(crate) struct Books {
    memory: GuestMemory,
    entries: Entries,
    pins: Pins,
    /// Pages mapped now.
    pub(crate) mapped: usize,
    /// Operations of each grant copy call so far.
    pub(crate) copies: Vec<usize>,
    /// Local ports.
    pub(crate) ports: BTreeMap<Port, Channel>,
    /// Local ports delivered and not yet seen by the loop.
    pub(crate) delivered: Vec<Port>,
    /// Grant copy does nothing at all, and says nothing.
    pub(crate) copies_nothing: bool,
    /// Events sent to the guest.
    pub(crate) notifies: usize,
    /// Run once in the middle of the next unmask, before the port is open again.
    pub(crate) on_unmask: Option<Box<dyn FnOnce()>>,
    next_port: u32,
}

/// One bound port.
pub(crate) struct Channel {
    remote: Port,
    masked: bool,
    pending: bool,
}

impl Machine {
    pub(crate) fn new(memory: &GuestMemory, entries: &Entries) -> Self {
        let books = Books {
            memory: memory.clone(),
            entries: entries.clone(),
            pins: Pins::default(),
            mapped: 0,
            copies: Vec::new(),
            copies_nothing: false,
            ports: BTreeMap::new(),
            delivered: Vec::new(),
            notifies: 0,
            on_unmask: None,
            next_port: 40,
        };
        Self {
            books: Rc::new(RefCell::new(books)),
        }
    }

    pub(crate) fn platform(&self) -> Platform {
        Platform {
            domid: DomId::DOM0,
            grants: Box::new(self.clone()),
            events: Box::new(self.clone()),
        }
    }

    pub(crate) fn books(&self) -> std::cell::RefMut<'_, Books> {
        self.books.borrow_mut()
    }

    /// The guest sends an event on its end of a channel.
    pub(crate) fn kick(&self, remote: Port) {
        let mut books = self.books();
        let bound = books
            .ports
            .iter()
            .find(|(_, channel)| channel.remote == remote);
        let local = bound.map(|(local, _)| *local);
        local.into_iter().for_each(|local| books.raise(local));
    }
}

impl Books {
    fn raise(&mut self, local: Port) {
        let channel = self.ports.get_mut(&local).expect("a bound port");
        channel.pending = true;
        if !channel.masked {
            channel.masked = true;
            channel.pending = false;
            self.delivered.push(local);
        }
    }

    fn copy_one(&self, arena: &VolatileSlice<'_>, op: &CopyOp) -> Result<(), GrantStatus> {
        let access = match op.direction {
            Direction::FromGuest => Access::ReadOnly,
            Direction::ToGuest => Access::ReadWrite,
        };
        let bad = |_| GrantStatus(gntst::BAD_COPY_ARG);
        let gfn = self.entries.check(DomId::DOM0, op.gref, access)?;
        let frame = self.memory.frame(gfn).ok_or(GrantStatus(gntst::BAD_PAGE))?;
        let len = usize::from(op.len);
        let page = frame.subslice(op.offset.into(), len).map_err(|_| bad(()))?;
        let local = arena.subslice(op.local, len).map_err(|_| bad(()))?;
        match op.direction {
            Direction::FromGuest => page.copy_to_volatile_slice(local),
            Direction::ToGuest => local.copy_to_volatile_slice(page),
        }
        Ok(())
    }
}

impl Grants for Machine {
    fn copy(&mut self, arena: VolatileSlice<'_>, ops: &mut [CopyOp]) {
        let mut books = self.books();
        books.copies.push(ops.len());
        let judged = if books.copies_nothing { 0 } else { ops.len() };
        for op in &mut ops[..judged] {
            let verdict = books.copy_one(&arena, op);
            op.status = verdict.err().unwrap_or(GrantStatus(gntst::OKAY));
        }
    }

    fn map(
        &mut self,
        domid: DomId,
        grefs: &[GrantRef],
        access: Access,
    ) -> Result<Box<dyn Mapped>, MapError> {
        let gref = grefs[0];
        let mut books = self.books();
        let Books { pins, entries, .. } = &mut *books;
        let gfn = pins
            .pin(entries, DomId::DOM0, gref, access)
            .map_err(|status| MapError::Refused {
                domid,
                gref,
                status,
            })?;
        books.mapped += 1;
        let page = books.memory.page(gfn).expect("a frame of the guest");
        Ok(Box::new(Mapping {
            machine: self.clone(),
            page,
            gref,
        }))
    }

    fn system_calls(&self) -> u64 {
        0
    }
}

struct Mapping {
    machine: Machine,
    page: Page,
    gref: GrantRef,
}

impl Mapped for Mapping {
    fn slice(&self) -> VolatileSlice<'_> {
        self.page.slice()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let mut books = self.machine.books();
        books.mapped -= 1;
        let Books { pins, entries, .. } = &mut *books;
        pins.unpin(entries, self.gref, Access::ReadWrite);
    }
}

fn unknown(operation: &'static str, port: Port) -> evtchn::Error {
    evtchn::Error {
        operation,
        port,
        source: io::Error::from(io::ErrorKind::NotFound),
    }
}

/// The one port of the guest that nobody has allocated.
pub(crate) const UNALLOCATED: Port = Port(13);

impl EventChannels for Machine {
    fn bind_interdomain(&mut self, _: DomId, remote: Port) -> Result<Port, evtchn::Error> {
        if remote == UNALLOCATED {
            return Err(unknown("bind", remote));
        }
        let mut books = self.books();
        books.next_port += 1;
        let local = Port(books.next_port);
        books.ports.insert(
            local,
            Channel {
                remote,
                masked: false,
                pending: false,
            },
        );
        books.raise(local);
        Ok(local)
    }

    fn bind_unbound(&mut self, _: DomId) -> Result<Port, evtchn::Error> {
        Err(unknown("allocation", Port(0)))
    }

    fn unbind(&mut self, port: Port) -> Result<(), evtchn::Error> {
        let gone = self.books().ports.remove(&port);
        gone.map(drop).ok_or_else(|| unknown("unbind", port))
    }

    fn notify(&mut self, port: Port) -> Result<(), evtchn::Error> {
        self.books().notifies += 1;
        let bound = self.books().ports.contains_key(&port);
        bound.then_some(()).ok_or_else(|| unknown("notify", port))
    }

    fn unmask(&mut self, port: Port) -> Result<(), evtchn::Error> {
        let hook = self.books().on_unmask.take();
        hook.into_iter().for_each(|hook| hook());
        let mut books = self.books();
        let channel = books
            .ports
            .get_mut(&port)
            .ok_or_else(|| unknown("unmask", port))?;
        channel.masked = false;
        if channel.pending {
            books.raise(port);
        }
        Ok(())
    }

    fn pending(&mut self, _: &[u8], ports: &mut Vec<Port>) {
        ports.append(&mut self.books().delivered);
    }

    fn system_calls(&self) -> u64 {
        0
    }
}
