//! Both halves over the same memory, against a naive queue.

use std::collections::VecDeque;

use fixture::{Memory, config};
use proptest::prelude::*;
use ring::{Back, Front, Notify};
use vm_memory::VolatileSlice;

mod fixture;

const STRIDE: usize = 12;

/// One step of one side. A step that the state does not allow does nothing.
#[derive(Clone, Copy, Debug)]
enum Step {
    PutRequest(u64),
    PublishRequests,
    TakeRequests(u8),
    PutResponse,
    PublishResponses,
    TakeResponses,
    ArmBack,
    ArmFront,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<u64>().prop_map(Step::PutRequest),
        2 => Just(Step::PublishRequests),
        2 => any::<u8>().prop_map(Step::TakeRequests),
        4 => Just(Step::PutResponse),
        2 => Just(Step::PublishResponses),
        2 => Just(Step::TakeResponses),
        1 => Just(Step::ArmBack),
        1 => Just(Step::ArmFront),
    ]
}

/// A direction as a naive queue: what was put, what of it the peer may see, who sleeps.
#[derive(Default)]
struct Naive {
    put: VecDeque<u64>,
    shown: VecDeque<u64>,
    asleep: bool,
}

impl Naive {
    /// A sleeping consumer is told whenever something is shown to it, and is awake then.
    fn publish(&mut self) -> bool {
        let wake = self.asleep && !self.put.is_empty();
        self.asleep &= !wake;
        self.shown.append(&mut self.put);
        wake
    }

    /// What the consumer may conclude from looking once more.
    fn arm(&mut self) -> bool {
        self.asleep = self.shown.is_empty();
        !self.asleep
    }
}

fn count(queue: &VecDeque<u64>) -> u32 {
    u32::try_from(queue.len()).unwrap()
}

struct World<'a> {
    front: Front<VolatileSlice<'a>>,
    back: Back<VolatileSlice<'a>>,
    requests: Naive,
    taken: VecDeque<u64>,
    responses: Naive,
    expected: u32,
}

/// A notification may come unasked for, where the event word was passed meanwhile; one that is
/// asked for comes.
fn woken(notify: Notify, wanted: bool) {
    assert!(notify == Notify::Peer || !wanted);
}

impl World<'_> {
    fn step(&mut self, step: Step) {
        match step {
            Step::PutRequest(value) => self.put_request(value),
            Step::PublishRequests => woken(self.front.publish(), self.requests.publish()),
            Step::TakeRequests(most) => self.take_requests(most),
            Step::PutResponse => self.put_response(),
            Step::PublishResponses => woken(self.back.publish(), self.responses.publish()),
            Step::TakeResponses => self.take_responses(),
            Step::ArmBack => assert_eq!(self.back.arm(), Ok(self.requests.arm())),
            Step::ArmFront => assert_eq!(self.front.arm(), Ok(self.responses.arm())),
        }
        assert_eq!(self.front.free(), self.front.entries() - self.expected);
        assert_eq!(self.back.in_flight() as usize, self.taken.len());
    }

    fn put_request(&mut self, value: u64) {
        if self.front.free() > 0 {
            self.front.put(&value.to_le_bytes());
            self.requests.put.push_back(value);
            self.expected += 1;
        }
    }

    fn take_requests(&mut self, most: u8) {
        assert_eq!(self.back.refresh(), Ok(count(&self.requests.shown)));
        let mut slot = [0; 8];
        for _ in 0..most % 8 {
            let expected = self.requests.shown.pop_front();
            let got = self
                .back
                .take(&mut slot)
                .then_some(u64::from_le_bytes(slot));
            assert_eq!(got, expected);
            self.taken.extend(expected);
        }
    }

    fn put_response(&mut self) {
        if let Some(value) = self.taken.pop_front() {
            self.back.put(&value.to_le_bytes());
            self.responses.put.push_back(value);
        }
    }

    fn take_responses(&mut self) {
        assert_eq!(self.front.refresh(), Ok(count(&self.responses.shown)));
        let mut slot = [0; 8];
        while let Some(expected) = self.responses.shown.pop_front() {
            assert!(self.front.take(&mut slot));
            assert_eq!(u64::from_le_bytes(slot), expected);
            self.expected -= 1;
        }
        assert!(!self.front.take(&mut slot));
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_ring_behaves_like_two_queues(
        log2_entries in 0_u32..6,
        steps in prop::collection::vec(any_step(), 0..400),
    ) {
        let entries = 1 << log2_entries;
        let mut memory = Memory::new(64 + STRIDE * entries as usize);
        let pages = memory.slice();
        let mut world = World {
            front: Front::new(pages, entries, STRIDE).unwrap(),
            back: Back::new(pages, entries, STRIDE).unwrap(),
            requests: Naive::default(),
            taken: VecDeque::new(),
            responses: Naive::default(),
            expected: 0,
        };
        for step in steps {
            world.step(step);
        }
    }
}
