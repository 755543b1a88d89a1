//! The hypervisor's own memory of one domain's queues, as words that processes can share.
//!
//! | words | what |
//! |---|---|
//! | 0 | how many ports the event array has pages for |
//! | 16 + 16 q | queue q: lock (its holder, or 0), tail, the port being linked and how far |
//! | 272 + p | port p: its priority and the queue it was last linked to |
//!
//! All zero is the initial state, so a sparse file will do, and there is no address in it.
//! No guest maps it: what it says is believed, though never without a bound.

use std::num::NonZeroU32;

use abi::event_channel::fifo::{
    CONTROL_HEAD, CONTROL_READY, LINK_BITS, LINK_MASK, MAX_QUEUES, NR_CHANNELS, PRIORITY_DEFAULT,
};

use super::sync::{AtomicU32, Ordering};
use super::words::Words;

/// A process that may send events, as the simulated host numbers them. A number is not reused:
/// a lock word that holds it must never come to mean somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client(pub NonZeroU32);

/// Words before the first queue and of each queue: a cache line, so that two priorities that are
/// busy on two processors do not share one.
const LINE: u32 = 16;
/// [`MAX_QUEUES`] as the width of an index.
#[expect(clippy::cast_possible_truncation, reason = "16")]
pub(crate) const QUEUES: u32 = MAX_QUEUES as u32;
/// Where the parts of the control block lie, in words.
#[expect(clippy::cast_possible_truncation, reason = "0 and 2")]
const READY_AT: u32 = (CONTROL_READY / size_of::<u32>()) as u32;
#[expect(clippy::cast_possible_truncation, reason = "0 and 2")]
const HEAD_AT: u32 = (CONTROL_HEAD / size_of::<u32>()) as u32;
const PORTS_AT: u32 = LINE + QUEUES * LINE;
/// The set of all queues: one bit each, as in the control block's `ready`.
pub(crate) const ALL: u32 = (1 << QUEUES) - 1;
/// Ports of the largest event array.
pub(crate) const PORTS_MAX: u32 = 1 << LINK_BITS;

/// Bytes of the private memory of a domain with all its ports. Where it is a sparse file, only the
/// pages of ports that were used are ever touched.
pub const PRIVATE_BYTES: usize = (PORTS_AT as usize + NR_CHANNELS) * size_of::<u32>();

/// A word of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Field {
    /// The client that holds the queue's lock, or 0.
    Lock = 0,
    /// The port that was linked last, or 0. The queue is empty when that port is not LINKED.
    Tail = 1,
    /// What the holder is linking: [`Linking`], or 0.
    Linking = 2,
}

/// How far the linking of a port has come. Recorded before the stage is entered, and every stage
/// may be entered again, so that whoever finds the record can finish the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// PENDING is being set.
    Raise = 1,
    /// The port is neither MASKED nor LINKED: LINKED is being set.
    Claim = 2,
    /// The tail is BUSY. It loses that in the very step that makes it point to the port.
    Link = 3,
    /// The queue is empty: its head is being marked [`VACANT`].
    Vacate = 4,
    /// The head is VACANT. It loses that in the very step that makes it name the port.
    Head = 5,
    /// The port is in the queue: the receiver is being told.
    Ready = 6,
}

/// A head that is about to be written. It names no port, whoever reads it.
pub(crate) const VACANT: u32 = 1 << 31;

/// A port and how far its linking has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Linking {
    pub(crate) port: u32,
    pub(crate) stage: Stage,
}

impl Linking {
    fn encode(linking: Option<Self>) -> u32 {
        linking.map_or(0, |it| (it.stage as u32) << LINK_BITS | it.port)
    }

    fn decode(word: u32) -> Option<Self> {
        let stage = match word >> LINK_BITS {
            1 => Stage::Raise,
            2 => Stage::Claim,
            3 => Stage::Link,
            4 => Stage::Vacate,
            5 => Stage::Head,
            6 => Stage::Ready,
            _ => return None,
        };
        let port = word & LINK_MASK;
        Some(Self { port, stage })
    }
}

/// What the hypervisor knows of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortState {
    /// The queue that its next linking goes to.
    pub(crate) priority: u32,
    /// The queue that it was last linked to, where it may still be the tail.
    pub(crate) last: u32,
}

impl PortState {
    const LAST_SHIFT: u32 = 4;

    /// Both halves differ from the default by what is stored, so that 0 is a new port.
    fn decode(word: u32) -> Self {
        let half = |shift: u32| (word >> shift ^ PRIORITY_DEFAULT) & 0xF;
        Self {
            priority: half(0),
            last: half(Self::LAST_SHIFT),
        }
    }

    fn bits_of_last(queue: u32) -> u32 {
        ((queue ^ PRIORITY_DEFAULT) & 0xF) << Self::LAST_SHIFT
    }

    fn bits_of_priority(queue: u32) -> u32 {
        (queue ^ PRIORITY_DEFAULT) & 0xF
    }
}

/// One domain's event memory for the length of a call: the two parts it shares with the guest,
/// and the private one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<W> {
    pub(crate) control: W,
    pub(crate) array: W,
    pub(crate) private: W,
}

impl<W: Words> View<W> {
    /// The event word of a port that exists.
    pub(crate) fn event(&self, port: u32) -> Option<&AtomicU32> {
        let ports = self.ports()?.load(Ordering::Acquire);
        if port == 0 || port >= ports {
            return None;
        }
        self.array.word(port)
    }

    /// The number of ports, port 0 included.
    pub(crate) fn ports(&self) -> Option<&AtomicU32> {
        self.private.word(0)
    }

    /// A word of a queue.
    pub(crate) fn queue(&self, queue: u32, field: Field) -> Option<&AtomicU32> {
        queue_word(&self.private, queue, field)
    }

    /// The guest's view of where a queue begins.
    pub(crate) fn head(&self, queue: u32) -> Option<&AtomicU32> {
        head(&self.control, queue)
    }

    /// The guest's view of which queues hold events.
    pub(crate) fn ready(&self) -> Option<&AtomicU32> {
        ready(&self.control)
    }

    /// What is being linked to a queue.
    pub(crate) fn linking(&self, queue: u32) -> Option<Linking> {
        let word = self.queue(queue, Field::Linking)?;
        Linking::decode(word.load(Ordering::Acquire))
    }

    /// Records what is being linked to a queue.
    pub(crate) fn record(&self, queue: u32, linking: Option<Linking>) -> Option<()> {
        let word = self.queue(queue, Field::Linking)?;
        word.store(Linking::encode(linking), Ordering::Release);
        Some(())
    }

    /// What is known of a port.
    pub(crate) fn state(&self, port: u32) -> Option<PortState> {
        let word = self.port_word(port)?;
        Some(PortState::decode(word.load(Ordering::Acquire)))
    }

    /// Notes that a port is now linked to `queue`. The caller holds both queues' locks.
    pub(crate) fn set_last(&self, port: u32, queue: u32) -> Option<()> {
        let change =
            PortState::bits_of_last(self.state(port)?.last) ^ PortState::bits_of_last(queue);
        self.port_word(port)?.fetch_xor(change, Ordering::AcqRel);
        Some(())
    }

    /// Chooses the queue of a port's next linking.
    pub(crate) fn set_priority(&self, port: u32, priority: u32) -> Option<()> {
        let word = self.port_word(port)?;
        let mut old = word.load(Ordering::Acquire);
        loop {
            let new = old & !0xF | PortState::bits_of_priority(priority);
            match word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(()),
                // Somebody linked the port or chose another priority: that is progress.
                Err(now) => old = now,
            }
        }
    }

    fn port_word(&self, port: u32) -> Option<&AtomicU32> {
        if port >= PORTS_MAX {
            return None;
        }
        self.private.word(PORTS_AT.checked_add(port)?)
    }
}

/// The set of one queue.
pub(crate) fn only(queue: u32) -> u32 {
    1_u32.checked_shl(queue).unwrap_or(0)
}

/// A word of a queue in the private memory.
pub(crate) fn queue_word<W: Words>(private: &W, queue: u32, field: Field) -> Option<&AtomicU32> {
    if queue >= QUEUES {
        return None;
    }
    let line = queue.checked_add(1)?.checked_mul(LINE)?;
    private.word(line.checked_add(field as u32)?)
}

/// The word of the control block with one bit per queue.
pub(crate) fn ready<W: Words>(control: &W) -> Option<&AtomicU32> {
    control.word(READY_AT)
}

/// The word of the control block that names a queue's first port.
pub(crate) fn head<W: Words>(control: &W, queue: u32) -> Option<&AtomicU32> {
    if queue >= QUEUES {
        return None;
    }
    control.word(HEAD_AT.checked_add(queue)?)
}
