//! Two ports, one or two priorities, two senders and a receiver that sleeps between upcalls.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::AtomicU64;

use abi::event_channel::fifo::MASKED;
use loom::sync::Arc;
use loom::thread;

use super::private::{Client, View};
use super::scan::{Scan, mask, unmask};
use super::send::{Raise, send};
use super::sync::{AtomicU32, Ordering, pause};
use super::words::Words;

/// Preemptions per execution in the ordinary run; `LOOM_MAX_PREEMPTIONS` may raise it.
pub(crate) const PREEMPTIONS: usize = 3;

/// Runs a model to the end and prints how many executions that took. What else the environment
/// says would end an exploration early, and quietly, so it is not heard.
pub(crate) fn explore(
    name: &str,
    preemptions: Option<usize>,
    model: impl Fn() + Send + Sync + 'static,
) {
    let executions = std::sync::Arc::new(AtomicU64::new(0));
    let counter = executions.clone();
    let mut builder = loom::model::Builder::new();
    let asked = builder.preemption_bound.unwrap_or(0);
    let preemptions = preemptions.map(|bound| bound.max(asked));
    builder.preemption_bound = preemptions;
    builder.max_branches = 10_000;
    builder.max_permutations = None;
    builder.max_duration = None;
    builder.checkpoint_file = None;
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let executions = executions.load(Ordering::Relaxed);
    println!("loom {name}: {executions} executions, preemptions {preemptions:?}");
}

/// The priority that differs from the default of 7.
const URGENT: u32 = 3;
const PORTS: [u32; 2] = [1, 2];
/// Words of the private memory: the number of ports; lock, tail and linking of queues 3 and 7; the
/// ports. Loom's memory is dear, so only these exist.
const PRIVATE: [u32; 9] = [0, 64, 65, 66, 128, 129, 130, 273, 274];
/// The ready word and the heads of queues 3 and 7.
const CONTROL: [u32; 3] = [0, 5, 9];

struct Sparse(BTreeMap<u32, AtomicU32>);

impl Sparse {
    fn zeroed(indices: &[u32]) -> Self {
        Self(
            indices
                .iter()
                .map(|index| (*index, AtomicU32::new(0)))
                .collect(),
        )
    }
}

impl Words for Sparse {
    fn word(&self, index: u32) -> Option<&AtomicU32> {
        self.0.get(&index)
    }
}

/// A domain, its memory, and what its senders and its receiver count.
struct Domain {
    control: Sparse,
    array: Sparse,
    private: Sparse,
    /// Whether an upcall is on its way.
    upcall: AtomicU32,
    /// How often each port was sent, counted before the send: what an event stands for.
    sent: BTreeMap<u32, AtomicU32>,
}

/// What the receiver remembers.
#[derive(Default)]
struct Receiver {
    scan: Scan,
    /// Per port, `sent` as it was when the port last arrived.
    seen: BTreeMap<u32, u32>,
    arrivals: BTreeMap<u32, u32>,
}

fn client(number: u32) -> Client {
    Client(NonZeroU32::new(number).expect("clients count from 1"))
}

impl Domain {
    fn new() -> Arc<Self> {
        let private = Sparse::zeroed(&PRIVATE);
        private.0[&0].store(3, Ordering::Relaxed);
        Arc::new(Self {
            control: Sparse::zeroed(&CONTROL),
            array: Sparse::zeroed(&PORTS),
            private,
            upcall: AtomicU32::new(0),
            sent: PORTS
                .iter()
                .map(|port| (*port, AtomicU32::new(0)))
                .collect(),
        })
    }

    fn view(&self) -> View<&Sparse> {
        View {
            control: &self.control,
            array: &self.array,
            private: &self.private,
        }
    }

    fn send(&self, client: Client, port: u32) {
        self.sent[&port].fetch_add(1, Ordering::Relaxed);
        self.raise(client, port);
    }

    fn raise(&self, client: Client, port: u32) {
        let raise = send(&self.view(), client, port, &mut |_, round| pause(round));
        if raise == Some(Raise::Upcall) {
            // A read-modify-write, as an eventfd is: loom lets a store slip behind a later swap.
            self.upcall.fetch_or(1, Ordering::AcqRel);
        }
    }

    /// What the receiver does when it may have been woken: nothing if it was not.
    fn receive(&self, receiver: &mut Receiver) {
        if self.upcall.swap(0, Ordering::Acquire) == 0 {
            return;
        }
        self.drain(receiver);
    }

    /// What the receiver does while it is awake.
    fn drain(&self, receiver: &mut Receiver) {
        while let Some(port) = receiver.scan.pop(&self.view().control, &self.view().array) {
            // In this order: whoever unmasks looks once more afterwards.
            self.unmask(port);
            let sent = self.sent[&port].load(Ordering::Relaxed);
            receiver.seen.insert(port, sent);
            *receiver.arrivals.entry(port).or_default() += 1;
        }
    }

    fn unmask(&self, port: u32) {
        if unmask(&self.view().array, port) {
            self.raise(client(3), port);
        }
    }

    /// Once everybody is done: an upcall that is on its way arrives, and then nothing is missing.
    fn settle(&self, mut receiver: Receiver) {
        self.receive(&mut receiver);
        self.receive(&mut receiver);
        for port in PORTS {
            let sent = self.sent[&port].load(Ordering::Relaxed);
            let seen = receiver.seen.get(&port).copied().unwrap_or(0);
            let arrivals = receiver.arrivals.get(&port).copied().unwrap_or(0);
            assert_eq!(seen, sent, "an event was lost: port {port}");
            assert!(
                arrivals <= sent,
                "port {port} arrived more often than it was sent"
            );
            let word = self.array.0[&port].load(Ordering::Relaxed);
            assert_eq!(
                word & !MASKED,
                0,
                "port {port} is left in a queue: {word:#x}"
            );
        }
        for index in [64, 66, 128, 130] {
            let word = self.private.0[&index].load(Ordering::Relaxed);
            assert_eq!(word, 0, "private word {index} is left locked or linking");
        }
    }
}

/// Two senders and the receiver at once.
fn race(
    domain: &Arc<Domain>,
    first: impl FnOnce(&Domain) + 'static,
    second: impl FnOnce(&Domain) + 'static,
) {
    let senders = [
        thread::spawn({
            let domain = domain.clone();
            move || first(&domain)
        }),
        thread::spawn({
            let domain = domain.clone();
            move || second(&domain)
        }),
    ];
    let mut receiver = Receiver::default();
    domain.drain(&mut receiver);
    domain.receive(&mut receiver);
    for sender in senders {
        sender.join().expect("the sender returned");
    }
    domain.settle(receiver);
}

pub(crate) fn two_ports_of_one_priority_both_arrive() {
    let domain = Domain::new();
    race(
        &domain,
        |it| it.send(client(1), 1),
        |it| it.send(client(2), 2),
    );
}

pub(crate) fn two_ports_of_two_priorities_both_arrive() {
    let domain = Domain::new();
    domain
        .view()
        .set_priority(2, URGENT)
        .expect("port 2 exists");
    race(
        &domain,
        |it| it.send(client(1), 1),
        |it| it.send(client(2), 2),
    );
}

pub(crate) fn a_port_sent_twice_arrives_after_the_last_send() {
    let domain = Domain::new();
    race(
        &domain,
        |it| it.send(client(1), 1),
        |it| it.send(client(2), 1),
    );
}

pub(crate) fn a_port_that_changes_its_priority_between_sends_arrives() {
    let domain = Domain::new();
    race(
        &domain,
        |it| {
            it.send(client(1), 1);
            it.view().set_priority(1, URGENT).expect("port 1 exists");
            it.send(client(1), 1);
        },
        |it| it.send(client(2), 2),
    );
}

pub(crate) fn a_queue_that_is_being_drained_takes_more() {
    let domain = Domain::new();
    domain.send(client(1), 1);
    race(&domain, |it| it.send(client(2), 2), |_| ());
}

pub(crate) fn an_event_sent_while_the_receiver_unmasks_arrives() {
    let domain = Domain::new();
    mask(&domain.view().array, 1);
    let sender = thread::spawn({
        let domain = domain.clone();
        move || domain.send(client(1), 1)
    });
    let mut receiver = Receiver::default();
    domain.unmask(1);
    domain.drain(&mut receiver);
    sender.join().expect("the sender returned");
    domain.settle(receiver);
}
