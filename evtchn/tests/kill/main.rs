//! A sender is killed before each of its accesses to shared memory in turn, with the receiver
//! active at each moment before that; the host recovers; nothing is lost.
//!
//! The algorithm's files are compiled here a second time, beside atomics that announce every
//! access (`sync`). A killed sender unwinds without releasing anything, as a killed process does.

#![expect(unreachable_pub, reason = "the files are parts of a library elsewhere")]

mod domain;
mod histories;
#[path = "../../src/fifo/lock.rs"]
mod lock;
#[expect(dead_code, reason = "the size of the whole is of no use here")]
#[path = "../../src/fifo/private.rs"]
mod private;
#[path = "../../src/fifo/recover.rs"]
mod recover;
#[path = "../../src/fifo/scan.rs"]
mod scan;
#[path = "../../src/fifo/send.rs"]
mod send;
mod sync;
#[path = "../../src/fifo/words.rs"]
mod words;

use std::ops::Range;
use std::rc::Rc;

use domain::{DEFAULT, Domain, LIVING, OTHER, THIRD, URGENT, VICTIM};

/// More accesses than a send has in any situation. That it is enough is asserted.
const ACCESSES_MAX: u32 = 32;

/// Something that happens to a domain, and its name.
type Doing = (&'static str, fn(&Domain));

/// What the queues look like before the send. Each names a different way through the algorithm.
const SITUATIONS: [Doing; 8] = [
    ("a new domain", |_| {}),
    ("the tail is in the queue", |it| it.send(LIVING, OTHER)),
    ("the tail has left the queue", |it| {
        it.send(LIVING, OTHER);
        it.drain();
    }),
    ("the port was the tail", |it| {
        it.send(LIVING, VICTIM);
        it.drain();
    }),
    ("the port was the tail of another queue", |it| {
        it.send(LIVING, VICTIM);
        it.drain();
        it.view().set_priority(VICTIM, URGENT);
    }),
    ("the port moves to a queue with a tail", |it| {
        it.send(LIVING, VICTIM);
        it.drain();
        it.view().set_priority(VICTIM, URGENT);
        it.view().set_priority(OTHER, URGENT);
        it.send(LIVING, OTHER);
    }),
    ("the port is in the queue", |it| it.send(LIVING, VICTIM)),
    ("the port is masked", |it| it.mask(VICTIM)),
];

/// What the receiver does in the middle of the send.
const RECEIVING: [Doing; 3] = [
    ("nothing", |_| {}),
    ("takes one port", |it| assert!(it.pop() != Some(0))),
    ("takes all ports", Domain::drain),
];

/// What happens after the recovery, before the receiver is woken.
const AFTERWARDS: [Doing; 4] = [
    ("nothing", |_| {}),
    ("another port is sent", |it| it.send(LIVING, OTHER)),
    ("the port is sent again", |it| it.send(LIVING, VICTIM)),
    ("the port is sent at another priority", |it| {
        it.view().set_priority(VICTIM, URGENT);
        it.send(LIVING, VICTIM);
        it.send(LIVING, OTHER);
        it.view().set_priority(VICTIM, DEFAULT);
    }),
];

/// Sends a port and kills the sender before access `killed_at`, the receiver having acted before
/// access `received_at`; then recovers. True if the sender was killed.
fn die(
    domain: &Rc<Domain>,
    port: u32,
    killed_at: u32,
    received_at: u32,
    receive: impl Fn(&Domain) + 'static,
) -> bool {
    let seen = domain.clone();
    let hook = move |access| {
        (received_at == access).then(|| receive(&seen));
        (killed_at == access).then(|| sync::kill());
    };
    let survived = sync::with_hook(hook, || domain.send_as_dead(port));
    domain.recover(port);
    survived.is_none()
}

#[test]
fn a_sender_killed_at_any_access_loses_nothing() {
    let mut cases = 0;
    for (situation, prepare) in SITUATIONS {
        for (receiving, receive) in RECEIVING {
            for (after, afterwards) in AFTERWARDS {
                for killed_at in 0..ACCESSES_MAX {
                    for received_at in 0..=killed_at {
                        let domain = Rc::new(Domain::new());
                        prepare(&domain);
                        die(&domain, VICTIM, killed_at, received_at, receive);
                        afterwards(&domain);
                        let case = format!(
                            "{situation}; killed at {killed_at}; the receiver at {received_at} \
                             {receiving}; then {after}"
                        );
                        domain.settle(&case);
                        cases += 1;
                    }
                }
            }
        }
    }
    println!("{cases} cases");
}

#[test]
fn a_send_has_fewer_accesses_than_are_tried() {
    let most = SITUATIONS.map(|(_, prepare)| {
        let domain = Rc::new(Domain::new());
        prepare(&domain);
        (0..ACCESSES_MAX)
            .take_while(|at| {
                let domain = Rc::new(Domain::new());
                prepare(&domain);
                die(&domain, VICTIM, *at, u32::MAX, |_| {})
            })
            .count()
    });
    println!("accesses per situation: {most:?}");
    assert!(
        most.iter()
            .all(|count| *count > 5 && *count < ACCESSES_MAX as usize)
    );
}

/// Two senders die, each after the receiver acted for a last time: it may have taken what they
/// linked. The recovery cannot know, and tells the receiver once too often. While the receiver acts
/// on that, its queue is emptied and filled between two accesses of its own, and again later.
#[test]
fn a_receiver_that_is_told_once_too_often_loses_nothing() {
    let mut cases = 0;
    for (killed, killed_next) in pairs(0..ACCESSES_MAX, 0..ACCESSES_MAX) {
        for (sends, sends_more) in pairs(0..6, 0..6) {
            let domain = Rc::new(Domain::new());
            die(&domain, VICTIM, killed, killed, Domain::drain);
            die(&domain, VICTIM, killed_next, killed_next, Domain::drain);
            let other = domain.clone();
            let hook = move |access| {
                if access == sends {
                    other.send(LIVING, OTHER);
                    other.send(LIVING, VICTIM);
                }
                if access == sends + sends_more {
                    other.send(LIVING, THIRD);
                }
            };
            sync::with_hook(hook, || domain.drain());
            domain.settle(&format!(
                "killed at {killed} and {killed_next}, sends at {sends} and {sends_more} later"
            ));
            cases += 1;
        }
    }
    println!("{cases} cases");
}

fn pairs(first: Range<u32>, second: Range<u32>) -> impl Iterator<Item = (u32, u32)> {
    first.flat_map(move |one| second.clone().map(move |other| (one, other)))
}
