//! 131,071 ports and 16 priorities against a naive oracle.

use std::collections::VecDeque;

use abi::Port;
use abi::event_channel::fifo::{MAX_QUEUES, NR_CHANNELS};
use evtchn::fifo::Raise;
use proptest::prelude::*;

use crate::domain::{Domain, LAST_PORT, Sides, cases};

/// What the header says, with lists.
struct Oracle {
    pending: Vec<bool>,
    masked: Vec<bool>,
    queued: Vec<bool>,
    priority: Vec<usize>,
    queues: [VecDeque<u32>; MAX_QUEUES],
}

impl Oracle {
    fn new() -> Self {
        Self {
            pending: vec![false; NR_CHANNELS],
            masked: vec![false; NR_CHANNELS],
            queued: vec![false; NR_CHANNELS],
            priority: vec![7; NR_CHANNELS],
            queues: Default::default(),
        }
    }

    /// True if the receiver, were it asleep, must be woken.
    fn send(&mut self, port: u32) -> bool {
        let at = port as usize;
        self.pending[at] = true;
        let link = !self.masked[at] && !self.queued[at];
        let wake = link && self.queues.iter().all(VecDeque::is_empty);
        if link {
            self.queued[at] = true;
            self.queues[self.priority[at]].push_back(port);
        }
        wake
    }

    fn unmask(&mut self, port: u32) -> bool {
        self.masked[port as usize] = false;
        self.pending[port as usize] && self.send(port)
    }

    fn pop(&mut self) -> Option<u32> {
        while let Some(queue) = self.queues.iter_mut().find(|it| !it.is_empty()) {
            let port = queue.pop_front()?;
            let at = port as usize;
            self.queued[at] = false;
            if self.pending[at] && !self.masked[at] {
                self.pending[at] = false;
                self.masked[at] = true;
                return Some(port);
            }
        }
        None
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Send(u32),
    Mask(u32),
    Unmask(u32),
    SetPriority(u32, u32),
    Pop,
    Drain,
}

/// Half of all ports from a few, so that they meet again.
fn port() -> impl Strategy<Value = u32> {
    prop_oneof![1..24_u32, 1..=LAST_PORT]
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => port().prop_map(Op::Send),
        1 => port().prop_map(Op::Mask),
        4 => port().prop_map(Op::Unmask),
        2 => (port(), 0..16_u32).prop_map(|(port, priority)| Op::SetPriority(port, priority)),
        4 => Just(Op::Pop),
        1 => Just(Op::Drain),
    ]
}

/// Does the same on both; the answers must agree.
fn step(sides: &mut Sides<'_>, oracle: &mut Oracle, op: &Op) -> Result<(), TestCaseError> {
    match *op {
        Op::Send(port) => {
            let wake = oracle.send(port);
            let raise = sides.send(port);
            prop_assert!(!wake || raise == Raise::Upcall, "nobody woke the receiver");
        }
        Op::Mask(port) => {
            oracle.masked[port as usize] = true;
            sides.consumer.mask(Port(port));
        }
        Op::Unmask(port) => {
            let wake = oracle.unmask(port);
            let raise = sides.unmask(port);
            prop_assert!(!wake || raise == Raise::Upcall, "nobody woke the receiver");
        }
        Op::SetPriority(port, priority) => {
            oracle.priority[port as usize] = priority as usize;
            prop_assert!(sides.queues.set_priority(Port(port), priority));
        }
        Op::Pop => prop_assert_eq!(sides.pop(), oracle.pop()),
        Op::Drain => {
            let arrived: Vec<u32> = std::iter::from_fn(|| sides.pop()).collect();
            let expected: Vec<u32> = std::iter::from_fn(|| oracle.pop()).collect();
            prop_assert_eq!(arrived, expected);
        }
    }
    Ok(())
}

#[test]
fn any_sequence_of_operations_does_what_the_oracle_does() {
    let config = ProptestConfig::with_cases(cases(256));
    proptest!(config, |(ops in prop::collection::vec(op(), 1..800))| {
        let (mut domain, mut oracle) = (Domain::new(), Oracle::new());
        let mut sides = domain.sides();
        for op in &ops {
            step(&mut sides, &mut oracle, op)?;
        }
        step(&mut sides, &mut oracle, &Op::Drain)?;
    });
}
