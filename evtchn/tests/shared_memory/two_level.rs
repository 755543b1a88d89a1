//! The two-level ABI at its full size, 4,095 ports, against a set.

use std::collections::BTreeSet;

use abi::Port;
use evtchn::fifo::Raise;
use evtchn::two_level::{Bitmaps, Consumer, SHARED_BYTES};
use proptest::prelude::*;

use crate::domain::{Memory, cases};

const LAST_PORT: u32 = 4095;

#[test]
fn every_port_at_once_arrives_once() {
    let mut memory = Memory::zeroed(SHARED_BYTES);
    let shared = memory.slice();
    let bitmaps = Bitmaps::new(shared).expect("it fits");
    let mut consumer = Consumer::new(shared).expect("it fits");
    let upcalls = (1..=LAST_PORT).filter(|it| bitmaps.set_pending(Port(*it)) == Raise::Upcall);
    assert_eq!(upcalls.count(), 1);
    let arrived: Vec<u32> = std::iter::from_fn(|| consumer.pop())
        .map(|it| it.0)
        .collect();
    assert!(arrived == (1..=LAST_PORT).collect::<Vec<u32>>());
}

#[test]
fn a_busy_port_does_not_starve_the_others() {
    let mut memory = Memory::zeroed(SHARED_BYTES);
    let shared = memory.slice();
    let bitmaps = Bitmaps::new(shared).expect("it fits");
    let mut consumer = Consumer::new(shared).expect("it fits");
    for port in [1, 2, 700] {
        assert_ne!(bitmaps.set_pending(Port(port)), Raise::Abandoned);
    }
    assert_eq!(consumer.pop(), Some(Port(1)));
    assert_eq!(consumer.unmask(Port(1)), Raise::Nothing);
    assert_ne!(bitmaps.set_pending(Port(1)), Raise::Abandoned);
    let next = [
        consumer.pop(),
        consumer.pop(),
        consumer.pop(),
        consumer.pop(),
    ];
    assert_eq!(next, [Some(Port(2)), Some(Port(700)), Some(Port(1)), None]);
}

#[test]
fn ports_that_do_not_exist_are_ignored() {
    let mut memory = Memory::zeroed(SHARED_BYTES);
    let shared = memory.slice();
    let bitmaps = Bitmaps::new(shared).expect("it fits");
    let mut consumer = Consumer::new(shared).expect("it fits");
    for port in [0, LAST_PORT + 1, u32::MAX] {
        assert_eq!(bitmaps.set_pending(Port(port)), Raise::Nothing);
        assert_eq!(consumer.unmask(Port(port)), Raise::Nothing);
        consumer.mask(Port(port));
    }
    assert_eq!(consumer.pop(), None);
}

#[derive(Clone, Debug)]
enum Op {
    Send(u32),
    Mask(u32),
    Unmask(u32),
    Pop,
}

fn op() -> impl Strategy<Value = Op> {
    let port = || prop_oneof![1..24_u32, 1..=LAST_PORT];
    prop_oneof![
        4 => port().prop_map(Op::Send),
        1 => port().prop_map(Op::Mask),
        3 => port().prop_map(Op::Unmask),
        4 => Just(Op::Pop),
    ]
}

/// Does an operation on both; a port may arrive when it is pending and not masked, and if there is
/// such a port then one does.
fn step(
    bitmaps: &Bitmaps<vm_memory::VolatileSlice<'_>>,
    consumer: &mut Consumer<vm_memory::VolatileSlice<'_>>,
    (pending, masked): &mut (BTreeSet<u32>, BTreeSet<u32>),
    op: &Op,
) -> Result<(), TestCaseError> {
    match *op {
        Op::Send(port) => {
            pending.insert(port);
            prop_assert_ne!(bitmaps.set_pending(Port(port)), Raise::Abandoned);
        }
        Op::Mask(port) => {
            masked.insert(port);
            consumer.mask(Port(port));
        }
        Op::Unmask(port) => {
            masked.remove(&port);
            prop_assert_ne!(consumer.unmask(Port(port)), Raise::Abandoned);
        }
        Op::Pop => match consumer.pop() {
            Some(Port(port)) => {
                prop_assert!(pending.remove(&port), "port {} was not pending", port);
                prop_assert!(masked.insert(port), "port {} was masked", port);
            }
            None => prop_assert!(pending.is_subset(masked), "a port was lost"),
        },
    }
    Ok(())
}

#[test]
fn any_sequence_of_operations_loses_nothing() {
    let config = ProptestConfig::with_cases(cases(256));
    proptest!(config, |(ops in prop::collection::vec(op(), 1..800))| {
        let mut memory = Memory::zeroed(SHARED_BYTES);
        let shared = memory.slice();
        let bitmaps = Bitmaps::new(shared).expect("it fits");
        let mut consumer = Consumer::new(shared).expect("it fits");
        let mut sets = (BTreeSet::new(), BTreeSet::new());
        for op in &ops {
            step(&bitmaps, &mut consumer, &mut sets, op)?;
        }
        while consumer.pop().is_some_and(|port| sets.0.remove(&port.0) && sets.1.insert(port.0)) {}
        prop_assert!(sets.0.is_subset(&sets.1), "a port was lost");
    });
}
