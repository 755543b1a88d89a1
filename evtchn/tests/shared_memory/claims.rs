//! The FIFO ABI: what a port does, one claim a test.

use abi::Port;
use evtchn::fifo::{Consumer, Queues, Raise};

use crate::domain::{Domain, LAST_PORT, Memory, client};

#[test]
fn a_more_urgent_port_overtakes() {
    let mut domain = Domain::new();
    let mut sides = domain.sides();
    assert!(sides.queues.set_priority(Port(2), 0));
    assert_eq!(sides.send(1), Raise::Upcall);
    assert_eq!(sides.send(2), Raise::Upcall);
    assert_eq!(
        [sides.pop(), sides.pop(), sides.pop()],
        [Some(2), Some(1), None]
    );
}

#[test]
fn many_sends_of_one_port_arrive_as_one() {
    let mut domain = Domain::new();
    let mut sides = domain.sides();
    assert_eq!(sides.send(1), Raise::Upcall);
    assert_eq!(sides.send(1), Raise::Nothing);
    assert_eq!([sides.pop(), sides.pop()], [Some(1), None]);
}

#[test]
fn a_delivered_port_stays_masked_until_it_is_unmasked() {
    let mut domain = Domain::new();
    let mut sides = domain.sides();
    assert_eq!(sides.send(1), Raise::Upcall);
    assert_eq!(sides.pop(), Some(1));
    assert_eq!(sides.send(1), Raise::Nothing);
    assert_eq!(sides.pop(), None);
    assert_eq!(sides.unmask(1), Raise::Upcall);
    assert_eq!([sides.pop(), sides.pop()], [Some(1), None]);
}

#[test]
fn a_port_masked_in_its_queue_is_passed_over_and_comes_back() {
    let mut domain = Domain::new();
    let mut sides = domain.sides();
    assert_eq!(sides.send(1), Raise::Upcall);
    assert_eq!(sides.send(2), Raise::Nothing);
    sides.consumer.mask(Port(1));
    assert_eq!([sides.pop(), sides.pop()], [Some(2), None]);
    assert_eq!(sides.unmask(1), Raise::Upcall);
    assert_eq!(sides.pop(), Some(1));
}

#[test]
fn a_closed_port_leaves_its_queue_unseen() {
    let mut domain = Domain::new();
    let mut sides = domain.sides();
    assert_eq!(sides.send(1), Raise::Upcall);
    sides.queues.clear_pending(Port(1));
    assert!(sides.queues.is_linked(Port(1)));
    assert_eq!(sides.pop(), None);
    assert!(!sides.queues.is_linked(Port(1)));
}

#[test]
fn ports_that_do_not_exist_are_refused() {
    let mut domain = Domain::new();
    let mut sides = domain.sides();
    for port in [0, LAST_PORT + 1, u32::MAX] {
        assert_eq!(sides.send(port), Raise::Nothing);
        assert_eq!(sides.queues.unmask(client(1), Port(port)), Raise::Nothing);
        assert!(!sides.consumer.unmask(Port(port)));
        assert!(!sides.queues.set_priority(Port(port), 0));
        assert!(!sides.queues.is_linked(Port(port)));
    }
    assert!(!sides.queues.set_priority(Port(1), 16));
    assert_eq!(sides.pop(), None);
}

#[test]
fn ports_beyond_the_pages_in_use_are_refused() {
    let mut domain = Domain::new();
    let (control, array) = (domain.control.slice(), domain.array.slice());
    let queues = Queues::new(control, array, domain.private.slice()).expect("it fits");
    assert_eq!(queues.set_pending(client(1), Port(1)), Raise::Nothing);
    queues.expand(1);
    assert_eq!(queues.ports(), 1024);
    assert_eq!(queues.set_pending(client(1), Port(1023)), Raise::Upcall);
    assert_eq!(queues.set_pending(client(1), Port(1024)), Raise::Nothing);
    queues.expand(u32::MAX);
    assert_eq!(queues.ports(), LAST_PORT + 1);
}

#[test]
fn ports_of_a_masked_page_arrive_once_unmasked() {
    let mut domain = Domain::new();
    let mut sides = domain.sides();
    assert!(sides.consumer.mask_page(127));
    assert!(!sides.consumer.mask_page(128));
    assert_eq!(sides.send(LAST_PORT), Raise::Nothing);
    assert_eq!(sides.pop(), None);
    assert_eq!(sides.unmask(LAST_PORT), Raise::Upcall);
    assert_eq!(sides.pop(), Some(LAST_PORT));
}

#[test]
fn memory_that_is_too_small_is_refused() {
    let mut memory = [
        Memory::zeroed(64),
        Memory::zeroed(4096),
        Memory::zeroed(4096),
    ];
    let [control, array, private] = memory.each_mut().map(|it| it.slice());
    assert_eq!(
        Consumer::new(control, array).expect_err("64 < 72").part,
        "control block"
    );
    assert_eq!(
        Consumer::new(array, control).expect_err("64 < 4096").part,
        "event array"
    );
    let refused = Queues::new(array, array, private).expect_err("too small");
    assert_eq!(refused.part, "private event memory");
}

#[test]
fn every_port_at_once_arrives_by_priority_and_in_the_order_sent() {
    let mut domain = Domain::new();
    let mut sides = domain.sides();
    let priority = |port: u32| port.wrapping_mul(2_654_435_761) >> 28;
    for port in 1..=LAST_PORT {
        assert!(sides.queues.set_priority(Port(port), priority(port)));
        assert_ne!(sides.send(port), Raise::Abandoned);
    }
    let mut expected: Vec<u32> = (1..=LAST_PORT).collect();
    expected.sort_by_key(|port| priority(*port));
    let arrived: Vec<u32> = std::iter::from_fn(|| sides.pop()).collect();
    assert!(arrived == expected);
}
