//! What a guest's kernel has, put together: memory, grants, event channels, xenstore, and the
//! streams that carry them on the reactor.
//!
//! It knows nothing of disks. Invariant: an event of xenstore goes to every driver, and a port to
//! the one driver it belongs to.

use std::path::Path;

use abi::{DomId, Port};
use reactor::live::{Config, Uring};
use reactor::{Completion, Reactor};
use sim::front::Kernel;
use sim::grants::Table;
use sim::live::{Events, Guest};
use sim::memory::{Frames, GuestMemory};
use xenstore::Client;

use crate::error::{Doing as _, Failure};
use crate::vm::Ended;
use crate::vm::streams::{Heard, Slots, Streams};

/// A guest's kernel on the reactor of its process.
pub struct Machine {
    memory: GuestMemory,
    frames: Frames,
    table: Table,
    events: Events,
    store: Client,
    streams: Streams,
    ports: Vec<Port>,
}

impl Machine {
    /// Boots the guest of `domid`; its pages come from all over its memory, in an order that `seed`
    /// decides.
    pub fn boot(dir: &Path, domid: DomId, seed: u64) -> Result<(Self, Uring), Failure> {
        let what = || format!("boot the guest of domain {domid}");
        let Guest {
            memory,
            table,
            events,
            store,
            ..
        } = Guest::attach(dir, domid).doing(what)?;
        let mut reactor = Uring::new(Config::default()).doing(what)?;
        let slots = Slots {
            events: reactor
                .add_stream(events.descriptor().doing(what)?)
                .doing(what)?,
            store: reactor.add_stream(store).doing(what)?,
            signals: None,
        };
        let mut streams = Streams::new(slots).doing(what)?;
        streams.start(&mut reactor);
        let frames = Frames::new(&memory, seed);
        let (store, ports) = (Client::new(), Vec::with_capacity(16));
        Ok((
            Self {
                memory,
                frames,
                table,
                events,
                store,
                streams,
                ports,
            },
            reactor,
        ))
    }

    /// What drivers are lent.
    pub fn kernel(&mut self) -> Kernel<'_> {
        Kernel {
            memory: &self.memory,
            frames: &mut self.frames,
            grants: &mut self.table,
            events: &mut self.events,
            store: &mut self.store,
        }
    }

    /// The xenstore connection.
    pub fn store(&mut self) -> &mut Client {
        &mut self.store
    }

    /// Grants made and not ended.
    pub fn lent(&self) -> usize {
        self.table.lent()
    }

    /// Takes a completion of the streams; the ports that it named are returned.
    pub fn complete(
        &mut self,
        reactor: &mut dyn Reactor,
        completion: Completion,
    ) -> Result<Vec<Port>, Ended> {
        let (store, events) = (&mut self.store, &mut self.events);
        match self
            .streams
            .complete(reactor, store, events, &mut self.ports, completion)?
        {
            Heard::Events => Ok(std::mem::take(&mut self.ports)),
            Heard::Nothing | Heard::Store | Heard::Stop(_) => Ok(Vec::new()),
        }
    }

    /// Sends what the drivers have to say to xenstore.
    pub fn send(&mut self, reactor: &mut dyn Reactor) {
        self.streams.send(reactor, &mut self.store);
    }
}
