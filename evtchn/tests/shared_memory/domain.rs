//! A domain's memory, both sides over it, and case counts.

use std::num::NonZeroU32;

use abi::Port;
use abi::event_channel::fifo::NR_CHANNELS;
use evtchn::fifo::{Client, Consumer, PRIVATE_BYTES, Queues, Raise, Words};
use vm_memory::VolatileSlice;

/// Bytes of an event array for every port.
const ARRAY_BYTES: usize = NR_CHANNELS * 4;
const PAGES: u32 = 128;
pub(crate) const LAST_PORT: u32 = 131_071;

/// The memory of one domain.
pub(crate) struct Domain {
    pub(crate) control: Memory,
    pub(crate) array: Memory,
    pub(crate) private: Memory,
}

/// Both sides of one domain over the same memory.
pub(crate) struct Sides<'a> {
    pub(crate) queues: Queues<VolatileSlice<'a>>,
    pub(crate) consumer: Consumer<VolatileSlice<'a>>,
    pub(crate) control: VolatileSlice<'a>,
    pub(crate) array: VolatileSlice<'a>,
}

impl Domain {
    pub(crate) fn new() -> Self {
        Self {
            control: Memory::zeroed(abi::PAGE_SIZE),
            array: Memory::zeroed(ARRAY_BYTES),
            private: Memory::zeroed(PRIVATE_BYTES),
        }
    }

    /// All ports exist and none is masked.
    pub(crate) fn sides(&mut self) -> Sides<'_> {
        let (control, array) = (self.control.slice(), self.array.slice());
        let queues = Queues::new(control, array, self.private.slice()).expect("it fits");
        queues.expand(PAGES);
        let consumer = Consumer::new(control, array).expect("it fits");
        Sides {
            queues,
            consumer,
            control,
            array,
        }
    }
}

impl Sides<'_> {
    pub(crate) fn send(&self, port: u32) -> Raise {
        self.queues.set_pending(client(1), Port(port))
    }

    pub(crate) fn pop(&mut self) -> Option<u32> {
        self.consumer.pop().map(|port| port.0)
    }

    pub(crate) fn unmask(&self, port: u32) -> Raise {
        let asked = self.consumer.unmask(Port(port));
        let raise = asked.then(|| self.queues.unmask(client(1), Port(port)));
        raise.unwrap_or(Raise::Nothing)
    }

    pub(crate) fn write(memory: &VolatileSlice<'_>, index: u32, value: u32) {
        let word = memory.word(index).expect("the word exists");
        word.store(value, std::sync::atomic::Ordering::SeqCst);
    }
}

/// Zeroed bytes that are aligned as shared memory is.
pub(crate) struct Memory {
    bytes: Vec<u8>,
    offset: usize,
}

impl Memory {
    pub(crate) fn zeroed(len_bytes: usize) -> Self {
        let bytes = vec![0; len_bytes + align_of::<u64>()];
        let offset = bytes.as_ptr().align_offset(align_of::<u64>());
        Self { bytes, offset }
    }

    pub(crate) fn slice(&mut self) -> VolatileSlice<'_> {
        let room = self.bytes.len() - align_of::<u64>();
        VolatileSlice::from(&mut self.bytes[self.offset..self.offset + room])
    }
}

pub(crate) fn client(number: u32) -> Client {
    Client(NonZeroU32::new(number).expect("clients count from 1"))
}

/// The number of cases of a property: `least`, or what PROPTEST_CASES says if that is more.
pub(crate) fn cases(least: u32) -> u32 {
    let asked = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|it| it.parse().ok())
        .unwrap_or(0);
    let cases = least.max(asked);
    println!("{cases} cases");
    cases
}
