//! A decorator that holds every operation back for a while before it starts.
//!
//! It sleeps nowhere: each held operation has a deadline of the reactor, under this layer's token.
//! It does not know what it wraps.
//! Invariant: an operation is either held here or known inside, never both.

use reactor::{Completion, Nanos, Outcome, Reactor, Token};

use crate::{Disk, Done, Geometry, Op, Submitted};

/// Starts every operation `latency_ns` after it was submitted.
pub struct Delay {
    inner: Box<dyn Disk>,
    owner: u16,
    layer: u16,
    latency_ns: Nanos,
    held: Vec<Op>,
}

impl Delay {
    /// Wraps `inner`. `layer` must differ from the layers inside; 0 is the engine's.
    pub fn new(inner: Box<dyn Disk>, owner: u16, layer: u16, latency_ns: Nanos) -> Self {
        Self {
            inner,
            owner,
            layer,
            latency_ns,
            held: Vec::new(),
        }
    }
}

impl Disk for Delay {
    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn submit(&mut self, reactor: &mut dyn Reactor, op: Op) -> Submitted {
        let token = Token {
            owner: self.owner,
            layer: self.layer,
            tag: op.id,
        };
        reactor.set_deadline(token, reactor.now().saturating_add(self.latency_ns));
        self.held.push(op);
        Submitted::Pending
    }

    fn complete(&mut self, reactor: &mut dyn Reactor, completion: Completion) -> Option<Done> {
        match completion.outcome {
            Outcome::Deadline if completion.token.layer == self.layer => {
                let id = completion.token.tag;
                let at = self.held.iter().position(|op| op.id == id)?;
                self.inner.submit(reactor, self.held.swap_remove(at)).done()
            }
            _ => self.inner.complete(reactor, completion),
        }
    }

    fn outstanding(&self) -> usize {
        self.held.len() + self.inner.outstanding()
    }

    fn close(&mut self, reactor: &mut dyn Reactor) {
        self.inner.close(reactor);
    }
}
