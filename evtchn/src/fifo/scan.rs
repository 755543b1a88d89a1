//! The receiver's side: ports are taken out of the queues in the order of their priority.
//!
//! Lock-free: senders never wait for it, and it waits only to unmask a port that a sender is just
//! linking behind (BUSY). It differs from Linux in two harmless things. A delivered port loses
//! PENDING and becomes MASKED in the same step that unlinks it; and a head is taken by writing 0
//! over it, so that a ready bit too many (see `recover`) finds nothing, where it would find an old
//! head that by now may stand in the middle of some queue.
//!
//! Whatever stands in the shared words, a call ends: [`STEPS_MAX`].

use abi::event_channel::fifo::{BUSY, LINK_MASK, LINKED, MASKED, MAX_QUEUES, PENDING};

use super::private::{PORTS_MAX, head, only, ready};
use super::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};
use super::sync::{AtomicU32, pause};
use super::words::Words;

/// Ports looked at in one call. A full set of queues has fewer; only corrupted ones have more, and
/// their rest is left to the next call.
const STEPS_MAX: u32 = 2 * PORTS_MAX;

/// Looks at a BUSY word before it is unmasked nevertheless: its sender is stopped, or died and was
/// not recovered yet. BUSY only spares the sender retries, of which it has some to spare.
const BUSY_ROUNDS_MAX: u32 = 128;

/// What a receiver remembers between calls.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Queues known to hold ports.
    ready: u32,
    /// The next port of each queue; 0 where only the control block knows.
    heads: [u32; MAX_QUEUES],
}

impl Scan {
    /// Takes the most urgent port that is pending and not masked, and leaves it masked.
    pub(crate) fn pop<W: Words>(&mut self, control: &W, array: &W) -> Option<u32> {
        for _ in 0..STEPS_MAX {
            let ready = ready(control)?;
            // The load is cheaper than the swap, and enough: a bit set later brings an upcall.
            if ready.load(Relaxed) != 0 {
                self.ready |= ready.swap(0, AcqRel);
            }
            let queue = self.ready.trailing_zeros();
            let port = self.front(control, queue)?;
            if self.take(array, queue, port) {
                return Some(port);
            }
        }
        None
    }

    /// The next port of a queue, 0 if it has none; `None` if there is no such queue.
    fn front<W: Words>(&mut self, control: &W, queue: u32) -> Option<u32> {
        let known = self.heads.get_mut(usize::try_from(queue).ok()?)?;
        if *known == 0 {
            let head = head(control, queue)?;
            let port = head.load(Acquire);
            if port != 0 && port < PORTS_MAX {
                head.store(0, Release);
                *known = port;
            }
        }
        Some(*known)
    }

    /// Takes a port out of its queue; true if it is to be delivered.
    fn take<W: Words>(&mut self, array: &W, queue: u32, port: u32) -> bool {
        let word = if port == 0 { None } else { array.word(port) };
        let old = word.map_or(0, unlink);
        let next = old & LINK_MASK;
        if next == 0 {
            self.ready &= !only(queue);
        }
        if let Some(head) = usize::try_from(queue)
            .ok()
            .and_then(|it| self.heads.get_mut(it))
        {
            *head = next;
        }
        deliverable(old)
    }
}

fn deliverable(word: u32) -> bool {
    word & (PENDING | MASKED) == PENDING
}

/// Unlinks a port and, if it is to be delivered, makes it masked and no longer pending. Returns
/// what it was.
fn unlink(word: &AtomicU32) -> u32 {
    let mut old = word.load(Acquire);
    loop {
        let mut new = old & !(LINKED | LINK_MASK);
        if deliverable(old) {
            new = new & !PENDING | MASKED;
        }
        match word.compare_exchange(old, new, AcqRel, Acquire) {
            Ok(_) => return old,
            // A sender raised it again or linked another port behind it: that is progress.
            Err(now) => old = now,
        }
    }
}

/// Masks a port: it may still become pending, but is not delivered.
pub(crate) fn mask<W: Words>(array: &W, port: u32) {
    if let Some(word) = array.word(port) {
        word.fetch_or(MASKED, AcqRel);
    }
}

/// Unmasks a port; true if it became pending meanwhile and the hypervisor must be asked to link it.
pub(crate) fn unmask<W: Words>(array: &W, port: u32) -> bool {
    let Some(word) = array.word(port) else {
        return false;
    };
    let mut round = 0_u32;
    let mut old = word.load(Acquire);
    loop {
        let patient = round < BUSY_ROUNDS_MAX;
        let expected = if patient { old & !BUSY } else { old };
        match word.compare_exchange(expected, expected & !MASKED, AcqRel, Acquire) {
            Ok(_) => return expected & PENDING != 0,
            Err(now) => old = now,
        }
        if patient && old & BUSY != 0 {
            round = if pause(round) {
                round.saturating_add(1)
            } else {
                BUSY_ROUNDS_MAX
            };
        }
    }
}
