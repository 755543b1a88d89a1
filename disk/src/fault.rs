//! A decorator that makes a good disk fail, by script or by seed.
//!
//! It does not know what it wraps, and damages nothing that the plan does not name.
//! Invariant: the same plan and the same operations give the same faults; an operation is either
//! hung here or known inside, never both.

use std::cell::RefCell;
use std::rc::Rc;

use reactor::{Completion, Outcome, Reactor, Token};

use crate::{Disk, DiskError, Done, Geometry, Op, OpKind, Submitted};

pub mod plan;

pub use plan::{Fault, Plan, Rates, Rule};

/// Wraps a disk and applies a [`Plan`] to what is submitted to it.
pub struct Faulty {
    inner: Box<dyn Disk>,
    owner: u16,
    layer: u16,
    /// Operations cut short inside, and what to say of each when it ends.
    cut: Vec<(u32, DiskError)>,
    state: Rc<RefCell<State>>,
}

/// The other end of a [`Faulty`]: counts, changes and releases, from the thread that drives it.
#[derive(Clone)]
pub struct Control {
    owner: u16,
    layer: u16,
    state: Rc<RefCell<State>>,
}

struct State {
    plan: Plan,
    hung: Vec<Op>,
    injected: [u64; Fault::ALL.len()],
}

impl Faulty {
    /// Wraps `inner`. `layer` must differ from the layers inside; 0 is the engine's.
    pub fn new(inner: Box<dyn Disk>, owner: u16, layer: u16, plan: Plan) -> (Self, Control) {
        let state = State {
            plan,
            hung: Vec::new(),
            injected: [0; Fault::ALL.len()],
        };
        let state = Rc::new(RefCell::new(state));
        let control = Control {
            owner,
            layer,
            state: Rc::clone(&state),
        };
        (
            Self {
                inner,
                owner,
                layer,
                cut: Vec::new(),
                state,
            },
            control,
        )
    }

    /// Lets the first half of an operation happen, in whole sectors, and remembers the verdict.
    fn cut(&mut self, reactor: &mut dyn Reactor, mut op: Op, error: DiskError) -> Submitted {
        let sector_bytes = self.inner.geometry().sector_size_bytes as usize;
        op.len_bytes = op.len_bytes / sector_bytes / 2 * sector_bytes;
        if op.len_bytes == 0 {
            return Submitted::Done(op.done(Err(error)));
        }
        self.cut.push((op.id, error));
        match self.inner.submit(reactor, op) {
            Submitted::Pending => Submitted::Pending,
            Submitted::Done(done) => Submitted::Done(self.verdict(done)),
        }
    }

    fn verdict(&mut self, done: Done) -> Done {
        match self.cut.iter().position(|(id, _)| *id == done.id) {
            Some(at) => Done {
                result: Err(self.cut.swap_remove(at).1),
                ..done
            },
            None => done,
        }
    }

    fn is_release(&self, completion: &Completion) -> bool {
        let token = completion.token;
        matches!(completion.outcome, Outcome::Deadline)
            && (token.owner, token.layer) == (self.owner, self.layer)
    }

    fn release(&mut self, reactor: &mut dyn Reactor, id: u32) -> Option<Done> {
        let at = self.state.borrow().hung.iter().position(|op| op.id == id)?;
        let op = self.state.borrow_mut().hung.swap_remove(at);
        self.inner.submit(reactor, op).done()
    }
}

impl Control {
    /// Lets every hung operation go on; each starts when its deadline, now, comes back.
    pub fn release(&self, reactor: &mut dyn Reactor) {
        let now = reactor.now();
        for op in &self.state.borrow().hung {
            reactor.set_deadline(
                Token {
                    owner: self.owner,
                    layer: self.layer,
                    tag: op.id,
                },
                now,
            );
        }
    }

    /// From now on, this plan.
    pub fn replace(&self, plan: Plan) {
        self.state.borrow_mut().plan = plan;
    }

    /// Operations that hang now.
    pub fn hung(&self) -> usize {
        self.state.borrow().hung.len()
    }

    /// Operations that a fault of this kind hit so far.
    pub fn injected(&self, fault: Fault) -> u64 {
        self.state.borrow().injected[fault as usize]
    }
}

impl State {
    fn draw(&mut self, op: &Op) -> Option<Fault> {
        let fault = self.plan.draw(op)?;
        self.injected[fault as usize] += 1;
        Some(fault)
    }
}

impl Disk for Faulty {
    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn submit(&mut self, reactor: &mut dyn Reactor, op: Op) -> Submitted {
        // What the disk refuses anyway is refused by the disk, so that the contract holds.
        let fault = match self.inner.geometry().admit(&op) {
            Ok(_) => self.state.borrow_mut().draw(&op),
            Err(_) => None,
        };
        match fault {
            None => self.inner.submit(reactor, op),
            Some(Fault::Error) => Submitted::Done(op.done(Err(DiskError::Os(libc::EIO)))),
            Some(Fault::Short) => self.cut(reactor, op, DiskError::Truncated),
            Some(Fault::Torn) => self.cut(reactor, op, DiskError::Os(libc::EIO)),
            Some(Fault::Hang) => {
                self.state.borrow_mut().hung.push(op);
                Submitted::Pending
            }
        }
    }

    fn complete(&mut self, reactor: &mut dyn Reactor, completion: Completion) -> Option<Done> {
        if self.is_release(&completion) {
            return self.release(reactor, completion.token.tag);
        }
        let done = self.inner.complete(reactor, completion)?;
        Some(self.verdict(done))
    }

    fn outstanding(&self) -> usize {
        self.state.borrow().hung.len() + self.inner.outstanding()
    }

    fn close(&mut self, reactor: &mut dyn Reactor) {
        self.inner.close(reactor);
    }
}

/// Whether an operation transfers data, so that part of it can happen.
fn transfers(op: &Op) -> bool {
    op.kind != OpKind::Flush
}
