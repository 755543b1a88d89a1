//! The hypervisor's side: an event is raised and its port linked to a queue.
//!
//! The rules are `event_channel.h`'s: PENDING first; a port that is MASKED or already LINKED needs
//! nothing more; else it is LINKED and either hung on the tail or, if the tail is no longer LINKED
//! and so the queue is empty, made the head. Who may be killed between any two writes must leave
//! a record: the work is a chain of stages, each recorded before it is entered and each written
//! so that entering it again does no harm. The hypervisor proper need not do this, as nobody
//! kills it.
//!
//! Every write is a release, so that they become visible in the order they stand here.
//! Nothing that a guest writes makes this loop: the only retry is bounded by [`LINK_TRIES`].

use abi::event_channel::fifo::{BUSY, LINK_MASK, LINKED, MASKED, PENDING};

use super::lock;
use super::private::{ALL, Client, Field, Linking, Stage, VACANT, View, only};
use super::sync::Ordering::{AcqRel, Acquire, Release};
use super::words::Words;

/// What the sender has to do next.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raise {
    /// Interrupt the receiver: it may be asleep.
    Upcall,
    /// Nothing: the receiver knows, or does not want to.
    Nothing,
    /// Nothing: a client died holding the queue, and nobody recovered it in all the time that the
    /// sender was willing to wait. The simulated host is gone.
    Abandoned,
}

/// Attempts to lock the queues of a port whose priority is being changed under the sender's eyes.
/// The last one takes every lock there is, and cannot fail.
const LOCK_TRIES: u32 = 4;

/// Attempts to change a BUSY tail. The receiver may clear PENDING, mask, and unlink it, each once,
/// and unmask it when it loses its patience. More means that the guest breaks the rules, and loses
/// an event.
const LINK_TRIES: u32 = 16;

/// Raises the event of `port`; `None` if there is no such port.
pub(crate) fn send<W: Words>(
    view: &View<W>,
    client: Client,
    port: u32,
    wait: &mut dyn FnMut(u32, u32) -> bool,
) -> Option<Raise> {
    view.event(port)?;
    for attempt in 1..=LOCK_TRIES {
        let before = view.state(port)?;
        let wanted = only(before.priority) | only(before.last);
        let locked = if attempt == LOCK_TRIES { ALL } else { wanted };
        if !lock::acquire(&view.private, locked, client, wait) {
            return Some(Raise::Abandoned);
        }
        let now = view.state(port)?;
        let needed = only(now.priority) | only(now.last);
        let raise = (needed & !locked == 0).then(|| {
            let linking = Linking {
                port,
                stage: Stage::Raise,
            };
            finish(view, now.priority, linking).unwrap_or(Raise::Nothing)
        });
        lock::release(&view.private, locked);
        if raise.is_some() {
            return raise;
        }
    }
    None
}

/// Takes a linking from the stage it has reached to its end. The locks of `queue` and of the queue
/// that the port was last linked to are held, by the caller or by a dead client.
pub(crate) fn finish<W: Words>(view: &View<W>, queue: u32, from: Linking) -> Option<Raise> {
    let raise = run(view, queue, from);
    view.record(queue, None)?;
    raise
}

fn run<W: Words>(view: &View<W>, queue: u32, from: Linking) -> Option<Raise> {
    let link = Link {
        view,
        queue,
        port: from.port,
    };
    let mut stage = from.stage;
    // Every stage leads to a later one.
    loop {
        view.record(
            queue,
            Some(Linking {
                port: from.port,
                stage,
            }),
        )?;
        let next = match stage {
            Stage::Raise => link.raise(),
            Stage::Claim => link.claim(),
            Stage::Link => link.link(),
            Stage::Vacate => link.vacate(),
            Stage::Head => link.head(),
            Stage::Ready => link.ready(),
        };
        match next? {
            Next::Stage(next) => stage = next,
            Next::End(raise) => return Some(raise),
        }
    }
}

enum Next {
    Stage(Stage),
    End(Raise),
}

struct Link<'a, W> {
    view: &'a View<W>,
    queue: u32,
    port: u32,
}

impl<W: Words> Link<'_, W> {
    /// Whoever unmasks the port, or takes it out of its queue, from now on will see PENDING.
    fn raise(&self) -> Option<Next> {
        let before = self.view.event(self.port)?.fetch_or(PENDING, AcqRel);
        if before & (MASKED | LINKED) != 0 {
            return Some(Next::End(Raise::Nothing));
        }
        Some(Next::Stage(Stage::Claim))
    }

    /// Only holders of its queue's lock set LINKED, so the port is still ours to link.
    fn claim(&self) -> Option<Next> {
        self.view.event(self.port)?.fetch_or(LINKED, AcqRel);
        self.leave_old_queue()?;
        let tail = self.tail()?.load(Acquire);
        if tail == 0 {
            return Some(Next::Stage(Stage::Vacate));
        }
        // BUSY keeps the guest from unmasking the tail, and shows whether the link was made.
        let before = self.view.event(tail)?.fetch_or(BUSY, AcqRel);
        let empty = before & LINKED == 0;
        Some(Next::Stage(if empty { Stage::Vacate } else { Stage::Link }))
    }

    /// A port that is the tail of a queue is about to look LINKED there although that queue is
    /// empty; it must not be taken for the tail any more.
    fn leave_old_queue(&self) -> Option<()> {
        let last = self.view.state(self.port)?.last;
        let tail = self.view.queue(last, Field::Tail)?;
        if tail.load(Acquire) == self.port {
            tail.store(0, Release);
        }
        if last != self.queue {
            self.view.set_last(self.port, self.queue)?;
        }
        Some(())
    }

    /// The tail points to the port from the moment it is not BUSY.
    fn link(&self) -> Option<Next> {
        let tail = self.tail()?.load(Acquire);
        if tail == self.port {
            return Some(Next::End(Raise::Nothing));
        }
        let word = self.view.event(tail)?;
        let mut old = word.load(Acquire);
        for _ in 0..LINK_TRIES {
            if old & BUSY == 0 {
                break;
            }
            if old & LINKED == 0 {
                return Some(Next::Stage(Stage::Vacate));
            }
            let new = old & !(BUSY | LINK_MASK) | self.port;
            match word.compare_exchange(old, new, AcqRel, Acquire) {
                Ok(_) => break,
                Err(now) => old = now,
            }
        }
        // Only a guest that breaks the rules has left this bit.
        if word.load(Acquire) & BUSY != 0 {
            word.fetch_and(!BUSY, AcqRel);
        }
        self.tail()?.store(self.port, Release);
        Some(Next::End(Raise::Nothing))
    }

    /// The queue is empty and stays so while its lock is held. A receiver that looks at the head
    /// now, because of a ready bit too many, sees that it names no port.
    fn vacate(&self) -> Option<Next> {
        let tail = self.tail()?.load(Acquire);
        if tail != 0 {
            self.view.event(tail)?.fetch_and(!BUSY, AcqRel);
        }
        self.view.head(self.queue)?.store(VACANT, Release);
        Some(Next::Stage(Stage::Head))
    }

    /// If the head is no longer VACANT then the port was there, and may already have been taken.
    fn head(&self) -> Option<Next> {
        let head = self.view.head(self.queue)?;
        if head.load(Acquire) == VACANT {
            head.store(self.port, Release);
        }
        Some(Next::Stage(Stage::Ready))
    }

    /// One bit too many does no harm: the receiver takes a head only once.
    fn ready(&self) -> Option<Next> {
        self.tail()?.store(self.port, Release);
        let bit = only(self.queue);
        let before = self.view.ready()?.fetch_or(bit, AcqRel);
        let raise = if before & bit == 0 {
            Raise::Upcall
        } else {
            Raise::Nothing
        };
        Some(Next::End(raise))
    }

    fn tail(&self) -> Option<&super::sync::AtomicU32> {
        self.view.queue(self.queue, Field::Tail)
    }
}
