//! A guest that writes whatever it likes into the memory it shares: nothing panics, every call ends.

use abi::Port;
use abi::event_channel::fifo::{BUSY, LINKED, MASKED, PENDING};
use evtchn::fifo::Raise;
use proptest::prelude::*;

use crate::domain::{Domain, LAST_PORT, Sides, cases, client};
use crate::oracle::{Op, op};

/// A word as a hostile guest writes it: mostly plausible, sometimes not.
fn hostile_word() -> impl Strategy<Value = u32> {
    let bits = prop::sample::subsequence(vec![PENDING, MASKED, LINKED, BUSY], 0..=4);
    prop_oneof![
        (bits, 0..24_u32).prop_map(|(bits, link)| bits.iter().sum::<u32>() | link),
        any::<u32>(),
    ]
}

/// What both sides of the domain do meanwhile.
fn act(sides: &mut Sides<'_>, op: &Op) {
    match *op {
        Op::Send(port) => drop(sides.send(port)),
        Op::Mask(port) => sides.consumer.mask(Port(port)),
        Op::Unmask(port) => drop(sides.unmask(port)),
        Op::SetPriority(port, priority) => {
            assert!(sides.queues.set_priority(Port(port), priority));
        }
        Op::Pop => drop(sides.pop()),
        // More ports may arrive than exist, but not for ever.
        Op::Drain => (0..64).map_while(|_| sides.pop()).for_each(drop),
    }
}

#[test]
fn whatever_a_guest_writes_every_call_ends() {
    let config = ProptestConfig::with_cases(cases(256));
    let writes = (any::<bool>(), 0..24_u32, hostile_word());
    let steps = prop::collection::vec((op(), prop::collection::vec(writes, 0..4)), 1..200);
    proptest!(config, |(steps in steps)| {
        let mut domain = Domain::new();
        let mut sides = domain.sides();
        for (op, writes) in &steps {
            act(&mut sides, op);
            for (control, index, value) in writes {
                let memory = if *control { &sides.control } else { &sides.array };
                Sides::write(memory, *index, *value);
            }
        }
        prop_assert_eq!(sides.queues.recover(client(9)), sides.queues.recover(client(9)));
    });
}

#[test]
fn a_link_in_a_circle_or_out_of_range_ends_the_queue() {
    for link in [1, 2, LAST_PORT] {
        let mut domain = Domain::new();
        let mut sides = domain.sides();
        assert_eq!(sides.send(1), Raise::Upcall);
        Sides::write(&sides.array, 1, PENDING | LINKED | link);
        Sides::write(&sides.array, 2, LINKED | 1);
        assert_eq!([sides.pop(), sides.pop()], [Some(1), None]);
        assert_eq!(sides.send(3), Raise::Upcall);
        assert_eq!(sides.pop(), Some(3));
    }
}

#[test]
fn a_head_that_names_no_port_ends_the_queue() {
    for head in [0, LAST_PORT + 1, u32::MAX] {
        let mut domain = Domain::new();
        let mut sides = domain.sides();
        assert_eq!(sides.send(1), Raise::Upcall);
        Sides::write(&sides.control, 2 + 7, head);
        assert_eq!(sides.pop(), None);
    }
}

#[test]
fn ready_bits_of_queues_that_do_not_exist_are_ignored() {
    let mut domain = Domain::new();
    let mut sides = domain.sides();
    Sides::write(&sides.control, 0, u32::MAX);
    assert_eq!(sides.pop(), None);
    assert_eq!(sides.send(1), Raise::Upcall);
    assert_eq!(sides.pop(), Some(1));
}
