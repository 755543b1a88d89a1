//! What every platform does, as claims that the tests of each implementation run.
//!
//! A claim is a function of a [`Fixture`], which makes guests and backends; it does not know
//! whether they are processes, values in a simulated world, or domains of a real Xen.
//! Invariant: a claim undoes what it did, so that one fixture may serve several.

use abi::{DomId, GrantRef, Port};
use vm_memory::VolatileSlice;
use xenstore::{Batch, Event, Reply, Step, StoreError};

use crate::{CopyOp, Direction, GrantStatus, Platform};

mod events;
mod grants;
mod store;

pub use events::EVENTS;
pub use grants::GRANTS;
pub use store::STORE;

/// The guest's half of a claim: a kernel with nothing in it but what the claims need.
///
/// It lends and ends grants, and has event channels. Whatever a page or a port is, the guest
/// looks at it through here.
pub trait GuestSide {
    /// Its own domain.
    fn domid(&self) -> DomId;

    /// Lends `to` a page of zeroes that nobody else has.
    fn lend(&mut self, to: DomId, readonly: bool) -> GrantRef;

    /// Takes a page back; false if it is still in use, and then nothing has changed.
    fn end(&mut self, gref: GrantRef) -> bool;

    /// Writes to a page it has lent, from byte `offset` on.
    fn write(&mut self, gref: GrantRef, offset: usize, bytes: &[u8]);

    /// Reads from a page it has lent.
    fn read(&mut self, gref: GrantRef, offset: usize, len: usize) -> Vec<u8>;

    /// Allocates a port for `to` to bind to.
    fn offer_port(&mut self, to: DomId) -> Port;

    /// Binds to a port that the other domain allocated.
    fn bind(&mut self, to: DomId, port: Port) -> Port;

    /// Sends an event through one of its ports.
    fn notify(&mut self, port: Port);

    /// The ports whose events have arrived since the last call, each unmasked again.
    fn take_events(&mut self) -> Vec<Port>;

    /// Whether one of its ports waits for its domain to bind (again).
    fn is_unbound(&mut self, port: Port) -> bool;
}

/// A backend domain's process, serving one guest.
pub trait BackendSide {
    /// What it has.
    fn platform(&mut self) -> &mut Platform;

    /// What the event descriptor gives now; empty if nothing.
    fn read_events(&mut self) -> Vec<u8>;

    /// Runs a batch on the store connection and waits for the replies.
    fn run(&mut self, batch: Batch) -> Vec<Result<Reply, StoreError>>;

    /// Waits for the next watch event of the store connection.
    fn next_watch(&mut self) -> Event;
}

/// Something that makes guests and backends.
pub trait Fixture {
    /// A new guest.
    fn guest(&self) -> Box<dyn GuestSide>;

    /// A new backend process that serves `guest`.
    fn backend(&self, guest: &dyn GuestSide) -> Box<dyn BackendSide>;
}

/// A named claim.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// What is claimed, as words joined by underscores.
    pub name: &'static str,
    /// Panics where it does not hold.
    pub check: fn(&dyn Fixture),
}

macro_rules! claims {
    ($($(#[$doc:meta])* $list:ident: [$($name:ident),* $(,)?])*) => {
        $(
            $(#[$doc])*
            pub const $list: &[$crate::conformance::Claim] = &[$(
                $crate::conformance::Claim { name: stringify!($name), check: $name },
            )*];
        )*
    };
}
pub(crate) use claims;

/// Memory of a backend to copy to and from, in pages' worth of bytes.
#[derive(Debug)]
struct Arena {
    bytes: Vec<u8>,
}

impl Arena {
    fn filled(len: usize, with: u8) -> Self {
        Self {
            bytes: vec![with; len],
        }
    }

    fn slice(&mut self) -> VolatileSlice<'_> {
        VolatileSlice::from(self.bytes.as_mut_slice())
    }
}

/// A guest, and a backend that serves it.
struct Pair {
    guest: Box<dyn GuestSide>,
    backend: Box<dyn BackendSide>,
}

impl Pair {
    fn new(fixture: &dyn Fixture) -> Self {
        let guest = fixture.guest();
        let backend = fixture.backend(&*guest);
        Self { guest, backend }
    }

    /// The domain that grants and ports are offered to.
    fn host(&mut self) -> DomId {
        self.backend.platform().domid
    }

    /// A fresh page that the backend may use.
    fn lend(&mut self, readonly: bool) -> GrantRef {
        let host = self.host();
        self.guest.lend(host, readonly)
    }

    /// A segment of `len` bytes at the start of both sides.
    fn segment(&self, direction: Direction, gref: GrantRef, len: u16) -> CopyOp {
        let domid = self.guest.domid();
        let status = GrantStatus::default();
        CopyOp {
            direction,
            domid,
            gref,
            offset: 0,
            len,
            local: 0,
            status,
        }
    }

    /// Copies, and returns each segment's verdict.
    fn copy(&mut self, arena: &mut Arena, ops: &mut [CopyOp]) -> Vec<GrantStatus> {
        self.backend.platform().grants.copy(arena.slice(), ops);
        ops.iter().map(|op| op.status).collect()
    }

    /// The ports that the backend's descriptor and queues give now. They stay masked.
    fn backend_events(&mut self) -> Vec<Port> {
        let read = self.backend.read_events();
        let mut ports = Vec::new();
        self.backend.platform().events.pending(&read, &mut ports);
        ports.sort_unstable();
        ports
    }

    /// A channel: the guest's port and the backend's, with the first event taken and unmasked.
    fn channel(&mut self) -> (Port, Port) {
        let host = self.host();
        let domid = self.guest.domid();
        let theirs = self.guest.offer_port(host);
        let events = &mut self.backend.platform().events;
        let ours = events
            .bind_interdomain(domid, theirs)
            .expect("binding an offered port");
        assert_eq!(self.backend_events(), [ours]);
        self.unmask(ours);
        (theirs, ours)
    }

    fn unmask(&mut self, port: Port) {
        self.backend
            .platform()
            .events
            .unmask(port)
            .expect("unmasking an own port");
    }

    fn notify(&mut self, port: Port) {
        self.backend
            .platform()
            .events
            .notify(port)
            .expect("notifying through an own port");
    }

    fn unbind(&mut self, port: Port) {
        self.backend
            .platform()
            .events
            .unbind(port)
            .expect("closing an own port");
    }
}

/// A batch of one step, run by the backend.
fn run_step(backend: &mut dyn BackendSide, step: Step) -> Result<Reply, StoreError> {
    let mut replies = backend.run(Batch::new(vec![step]));
    replies.pop().expect("one reply for one step")
}
