//! Bugs to be found: wrappers that make a good backend look like a broken one.
//!
//! Each acts once in a while, decided by a count and not by chance, so that most of a world goes
//! well and the bug has to be noticed.

use abi::{DomId, Port};
use disk::{Disk, Done, Geometry, Op, OpKind, Submitted};
use evtchn::{Error, EventChannels};
use reactor::{Completion, Lease, Pool, Reactor};
use vm_memory::Bytes as _;

use crate::process::Around;

/// One of so many operations goes wrong.
const ONE_OF: u64 = 40;

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The end of a request is forgotten.
    ResponseDropped,
    /// The guest is not told of responses.
    NotifyOmitted,
    /// A write is answered while the disk still has it.
    AnsweredEarly,
}

impl Bug {
    pub(crate) const ALL: [Self; 3] = [
        Self::ResponseDropped,
        Self::NotifyOmitted,
        Self::AnsweredEarly,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ResponseDropped => "response-dropped",
            Self::NotifyOmitted => "notify-omitted",
            Self::AnsweredEarly => "answered-early",
        }
    }
}

impl Around for Option<Bug> {
    /// Every other drive: what a guest sees must not depend on it.
    fn is_promised(&self, params: &str) -> bool {
        params.ends_with(['1', '3', '5', '7', '9'])
    }

    fn events(&self, inner: Box<dyn EventChannels>) -> Box<dyn EventChannels> {
        match self {
            Some(Bug::NotifyOmitted) => Box::new(Silent { inner, notified: 0 }),
            Some(Bug::ResponseDropped | Bug::AnsweredEarly) | None => inner,
        }
    }

    fn disk(&self, inner: Box<dyn Disk>) -> Box<dyn Disk> {
        match self {
            Some(Bug::ResponseDropped) => Box::new(Forgetful { inner, done: 0 }),
            Some(Bug::AnsweredEarly) => Box::new(Hasty::new(inner)),
            Some(Bug::NotifyOmitted) | None => inner,
        }
    }
}

struct Silent {
    inner: Box<dyn EventChannels>,
    notified: u64,
}

impl EventChannels for Silent {
    fn bind_interdomain(&mut self, remote: DomId, port: Port) -> Result<Port, Error> {
        self.inner.bind_interdomain(remote, port)
    }

    fn bind_unbound(&mut self, remote: DomId) -> Result<Port, Error> {
        self.inner.bind_unbound(remote)
    }

    fn unbind(&mut self, port: Port) -> Result<(), Error> {
        self.inner.unbind(port)
    }

    fn notify(&mut self, port: Port) -> Result<(), Error> {
        self.notified += 1;
        match self.notified % ONE_OF {
            0 => Ok(()),
            _ => self.inner.notify(port),
        }
    }

    fn unmask(&mut self, port: Port) -> Result<(), Error> {
        self.inner.unmask(port)
    }

    fn pending(&mut self, read: &[u8], ports: &mut Vec<Port>) {
        self.inner.pending(read, ports);
    }

    fn system_calls(&self) -> u64 {
        self.inner.system_calls()
    }
}

struct Forgetful {
    inner: Box<dyn Disk>,
    done: u64,
}

impl Disk for Forgetful {
    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn submit(&mut self, reactor: &mut dyn Reactor, op: Op) -> Submitted {
        self.inner.submit(reactor, op)
    }

    fn complete(&mut self, reactor: &mut dyn Reactor, completion: Completion) -> Option<Done> {
        let done = self.inner.complete(reactor, completion)?;
        self.done += 1;
        (!self.done.is_multiple_of(ONE_OF)).then_some(done)
    }

    fn outstanding(&self) -> usize {
        self.inner.outstanding()
    }

    fn close(&mut self, reactor: &mut dyn Reactor) {
        self.inner.close(reactor);
    }
}

/// Keeps a copy of a write, says that it is done, and lets the copy go to the disk.
struct Hasty {
    inner: Box<dyn Disk>,
    copies: Pool,
    writes: u64,
}

/// Marks the identifier of a write that was already answered.
const ANSWERED: u32 = 1 << 30;

impl Hasty {
    fn new(inner: Box<dyn Disk>) -> Self {
        let copies = Pool::new(32, 11 * abi::PAGE_SIZE).expect("memory for copies");
        Self {
            inner,
            copies,
            writes: 0,
        }
    }

    fn copy(&self, op: &Op) -> Option<Lease> {
        let (from, to) = (op.lease.as_ref()?, self.copies.lease()?);
        let mut bytes = vec![0; op.len_bytes];
        from.slice().read_slice(&mut bytes, 0).ok()?;
        to.slice().write_slice(&bytes, 0).ok()?;
        Some(to)
    }
}

impl Disk for Hasty {
    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn submit(&mut self, reactor: &mut dyn Reactor, op: Op) -> Submitted {
        self.writes += u64::from(op.kind == OpKind::Write);
        let hasty = op.kind == OpKind::Write && self.writes.is_multiple_of(ONE_OF);
        let Some(copy) = hasty.then(|| self.copy(&op)).flatten() else {
            return self.inner.submit(reactor, op);
        };
        let late = Op {
            id: op.id | ANSWERED,
            lease: Some(copy),
            ..op
        };
        match self.inner.submit(reactor, late) {
            Submitted::Done(_) | Submitted::Pending => {}
        }
        Submitted::Done(Done {
            id: op.id,
            lease: op.lease,
            result: Ok(()),
        })
    }

    fn complete(&mut self, reactor: &mut dyn Reactor, completion: Completion) -> Option<Done> {
        let done = self.inner.complete(reactor, completion)?;
        (done.id & ANSWERED == 0).then_some(done)
    }

    fn outstanding(&self) -> usize {
        self.inner.outstanding()
    }

    fn close(&mut self, reactor: &mut dyn Reactor) {
        self.inner.close(reactor);
    }
}
