//! Two threads around a ring of two slots, and an event channel between them.

use loom::model::Builder;
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::sync::Arc;

use crate::order::{Consumer, Notify, Producer};
use crate::sync::{AtomicU32, Ordering};

/// Thread switches in one execution: no model comes near, and one that did would panic.
const BRANCHES_MAX: usize = 1_000;

/// What else the environment says would end an exploration early, and quietly, so it is not heard.
pub(crate) fn explorer(preemption_bound: Option<usize>) -> Builder {
    let mut builder = Builder::new();
    builder.preemption_bound = preemption_bound;
    builder.max_branches = BRANCHES_MAX;
    builder.max_permutations = None;
    builder.max_duration = None;
    builder.checkpoint_file = None;
    builder
}

const ENTRIES: u32 = 2;

/// The index words of one direction, and the event channel that wakes its consumer.
struct Direction {
    prod: AtomicU32,
    event: AtomicU32,
    pending: Mutex<bool>,
    wake: Condvar,
}

impl Direction {
    fn new() -> Self {
        Self {
            prod: AtomicU32::new(0),
            event: AtomicU32::new(1),
            pending: Mutex::new(false),
            wake: Condvar::new(),
        }
    }

    fn publish(&self, producer: &mut Producer) {
        if producer.publish(&self.prod, &self.event) == Notify::Peer {
            *self.pending.lock().unwrap() = true;
            self.wake.notify_one();
        }
    }

    /// Returns with at least one slot to take. Sleeps where arming found nothing.
    fn wait(&self, consumer: &mut Consumer, most: u32) {
        while !consumer.arm(&self.prod, &self.event, most).unwrap() {
            let mut pending = self.pending.lock().unwrap();
            while !*pending {
                pending = self.wake.wait(pending).unwrap();
            }
            *pending = false;
        }
    }
}

/// Slots. Relaxed, so that only the order of the indices keeps a reader from seeing old content.
struct Slots([AtomicU32; ENTRIES as usize]);

impl Slots {
    fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU32::new(0)))
    }

    fn write(&self, index: u32, value: u32) {
        self.0[(index % ENTRIES) as usize].store(value, Ordering::Relaxed);
    }

    fn read(&self, index: u32) -> u32 {
        self.0[(index % ENTRIES) as usize].load(Ordering::Relaxed)
    }
}

/// A producer publishes two slots one by one; a consumer takes both, sleeping in between.
pub(crate) fn one_way() {
    let shared = Arc::new((Direction::new(), Slots::new()));
    let peer = Arc::clone(&shared);
    let producing = thread::spawn(move || {
        let (requests, slots) = &*peer;
        let mut producer = Producer::new(0);
        for value in 1..=ENTRIES {
            slots.write(producer.pvt(), value);
            producer.advance();
            requests.publish(&mut producer);
        }
    });
    let (requests, slots) = &*shared;
    let mut consumer = Consumer::new(0);
    for expected in 1..=ENTRIES {
        requests.wait(&mut consumer, ENTRIES);
        assert_eq!(slots.read(consumer.take().unwrap()), expected);
    }
    producing.join().unwrap();
}

/// A frontend sends one request more than the ring holds; the backend answers each in its slot.
pub(crate) fn both_ways() {
    const REQUESTS: u32 = ENTRIES + 1;
    let shared = Arc::new((Direction::new(), Direction::new(), Slots::new()));
    let peer = Arc::clone(&shared);
    let answering = thread::spawn(move || {
        let (requests, responses, slots) = &*peer;
        let (mut consumer, mut producer) = (Consumer::new(0), Producer::new(0));
        for _ in 0..REQUESTS {
            requests.wait(&mut consumer, ENTRIES);
            let request = slots.read(consumer.take().unwrap());
            slots.write(producer.pvt(), request + 100);
            producer.advance();
            responses.publish(&mut producer);
        }
    });
    let (requests, responses, slots) = &*shared;
    let (mut producer, mut consumer) = (Producer::new(0), Consumer::new(0));
    for answered in 0..REQUESTS {
        let room = consumer.cons() + ENTRIES - producer.pvt();
        for _ in 0..room.min(REQUESTS - producer.pvt()) {
            slots.write(producer.pvt(), producer.pvt());
            producer.advance();
        }
        requests.publish(&mut producer);
        let unanswered = producer.published() - consumer.cons();
        responses.wait(&mut consumer, unanswered);
        assert_eq!(slots.read(consumer.take().unwrap()), answered + 100);
    }
    answering.join().unwrap();
}
