//! A domain with three ports, its senders and its receiver, and what must be true in the end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::num::NonZeroU32;

use abi::event_channel::fifo::MASKED;

use super::private::{Client, Field, QUEUES, View, queue_word};
use super::recover::recover;
use super::scan::{Scan, mask, unmask};
use super::send::{Raise, send};
use super::sync::AtomicU32;
use super::sync::Ordering::Relaxed;
use super::words::Words;

pub(crate) const VICTIM: u32 = 1;
pub(crate) const OTHER: u32 = 2;
pub(crate) const THIRD: u32 = 3;
pub(crate) const PORTS: [u32; 3] = [VICTIM, OTHER, THIRD];

pub(crate) const DEFAULT: u32 = 7;
pub(crate) const URGENT: u32 = 3;

pub(crate) const LIVING: u32 = 1;
const DEAD: u32 = 2;

/// Upcalls after which a settled domain is quiet.
const ROUNDS_MAX: u32 = 8;

#[derive(Debug)]
pub(crate) struct Memory(Vec<AtomicU32>);

impl Memory {
    fn zeroed(words: usize) -> Self {
        Self((0..words).map(|_| AtomicU32::default()).collect())
    }
}

impl Words for Memory {
    fn word(&self, index: u32) -> Option<&AtomicU32> {
        self.0.get(usize::try_from(index).ok()?)
    }
}

pub(crate) struct Domain {
    control: Memory,
    array: Memory,
    private: Memory,
    scan: RefCell<Scan>,
    /// Whether the receiver will look: it was woken, or has not yet seen the end.
    awake: Cell<bool>,
    /// Ports that the receiver wants the hypervisor to raise again.
    hypercalls: RefCell<Vec<u32>>,
    counts: BTreeMap<u32, Counts>,
}

#[derive(Default)]
struct Counts {
    sent: Cell<u32>,
    /// `sent` as it was when the port last arrived.
    seen: Cell<u32>,
    /// Sends, whether they survived or not, and arrivals.
    tries: Cell<u32>,
    arrivals: Cell<u32>,
}

fn add(counter: &Cell<u32>, change: i32) {
    counter.set(counter.get().checked_add_signed(change).expect("a count"));
}

fn client(number: u32) -> Client {
    Client(NonZeroU32::new(number).expect("clients count from 1"))
}

impl Domain {
    pub(crate) fn new() -> Self {
        let private = Memory::zeroed(272 + 4);
        private.0[0].store(4, Relaxed);
        Self {
            control: Memory::zeroed(18),
            array: Memory::zeroed(4),
            private,
            scan: RefCell::default(),
            awake: Cell::new(false),
            hypercalls: RefCell::default(),
            counts: PORTS
                .iter()
                .map(|port| (*port, Counts::default()))
                .collect(),
        }
    }

    pub(crate) fn view(&self) -> View<&Memory> {
        View {
            control: &self.control,
            array: &self.array,
            private: &self.private,
        }
    }

    /// A send that is not killed; its upcall arrives.
    pub(crate) fn send(&self, client: u32, port: u32) {
        add(&self.counts[&port].sent, 1);
        add(&self.counts[&port].tries, 1);
        self.raise(client, port);
    }

    fn raise(&self, number: u32, port: u32) {
        let raise = send(&self.view(), client(number), port, &mut |_, _| false);
        assert_ne!(raise.expect("the port exists"), Raise::Abandoned);
        self.awake
            .set(self.awake.get() || raise == Some(Raise::Upcall));
    }

    /// A send whose sender makes no upcall, even if it comes to that: it dies first.
    pub(crate) fn send_as_dead(&self, port: u32) {
        add(&self.counts[&port].sent, 1);
        add(&self.counts[&port].tries, 1);
        let raise = send(&self.view(), client(DEAD), port, &mut |_, _| false);
        assert_ne!(raise, Some(Raise::Abandoned));
    }

    /// What the host does after a sender of `port` died. If the sender had recorded nothing yet then nothing was sent; if nothing
    /// any more then the event is in its queue, and the end of [`Domain::settle`] finds it.
    pub(crate) fn recover(&self, port: u32) {
        let recorded = (0..QUEUES).any(|queue| self.view().linking(queue).is_some());
        add(&self.counts[&port].sent, if recorded { 0 } else { -1 });
        let raise = recover(&self.view(), client(DEAD)).expect("the memory is whole");
        self.awake.set(self.awake.get() || raise == Raise::Upcall);
    }

    pub(crate) fn mask(&self, port: u32) {
        mask(&self.view().array, port);
    }

    /// The receiver takes one port, and unmasks it at once. It cannot wait for the hypervisor while
    /// a dead sender holds a queue, so what it asks for is done later.
    pub(crate) fn pop(&self) -> Option<u32> {
        let popped = self
            .scan
            .borrow_mut()
            .pop(&self.view().control, &self.view().array);
        self.awake.set(popped.is_some());
        if let Some(port) = popped {
            self.unmask(port);
            let counts = &self.counts[&port];
            counts.seen.set(counts.sent.get());
            add(&counts.arrivals, 1);
        }
        popped
    }

    pub(crate) fn drain_at_most(&self, ports: u32) {
        (0..ports).map_while(|_| self.pop()).for_each(drop);
    }

    pub(crate) fn drain(&self) {
        while self.pop().is_some() {}
    }

    fn unmask(&self, port: u32) {
        if unmask(&self.view().array, port) {
            self.hypercalls.borrow_mut().push(port);
        }
    }

    /// The upcalls that are due arrive. Then nothing is missing, nothing is held, and every port
    /// works at every priority.
    pub(crate) fn settle(&self, case: &str) {
        PORTS.iter().for_each(|port| self.unmask(*port));
        self.quiesce(case);
        for priority in [DEFAULT, URGENT, DEFAULT] {
            for port in PORTS {
                self.view().set_priority(port, priority);
                self.send(LIVING, port);
            }
            self.quiesce(case);
        }
    }

    fn quiesce(&self, case: &str) {
        for _ in 0..ROUNDS_MAX {
            for port in self.hypercalls.take() {
                self.raise(LIVING, port);
            }
            (0..u32::from(self.awake.get())).for_each(|_| self.drain());
        }
        assert!(!self.awake.get(), "never quiet: {case}");
        for (port, counts) in &self.counts {
            let (seen, sent) = (counts.seen.get(), counts.sent.get());
            assert!(
                seen >= sent,
                "port {port} was lost, {seen} of {sent}: {case}"
            );
            // An event that arrives while its sender is killed may be raised once more.
            let (arrivals, tries) = (counts.arrivals.get(), counts.tries.get());
            assert!(
                arrivals <= tries + 1,
                "port {port} arrived {arrivals} times: {case}"
            );
            let word = self
                .array
                .word(*port)
                .expect("the port exists")
                .load(Relaxed);
            assert_eq!(word & !MASKED, 0, "port {port} is left in a queue: {case}");
        }
        for queue in 0..QUEUES {
            for field in [Field::Lock, Field::Linking] {
                let word = queue_word(&self.private, queue, field).expect("the queue exists");
                assert_eq!(word.load(Relaxed), 0, "{field:?} of queue {queue}: {case}");
            }
        }
    }
}
