//! The model of `tests/loom` with a queue lock that locks nothing must be seen to lose an event.

#![expect(unreachable_pub, reason = "the files are parts of a library elsewhere")]

#[expect(dead_code, reason = "one of the models is enough")]
#[path = "../loom/model.rs"]
mod model;
#[expect(
    dead_code,
    reason = "what recovery, the real memory and the lock need is not used here"
)]
#[path = "../../src/fifo/private.rs"]
mod private;
#[path = "../../src/fifo/scan.rs"]
mod scan;
#[path = "../../src/fifo/send.rs"]
mod send;
#[path = "../loom/sync.rs"]
mod sync;
#[path = "../../src/fifo/words.rs"]
mod words;

use model::{PREEMPTIONS, explore};

/// Every lock is always free.
mod lock {
    use super::private::Client;
    use super::words::Words;

    pub(crate) fn acquire<W: Words>(
        _private: &W,
        _queues: u32,
        _client: Client,
        _wait: &mut dyn FnMut(u32, u32) -> bool,
    ) -> bool {
        true
    }

    pub(crate) fn release<W: Words>(_private: &W, _queues: u32) {}
}

#[test]
#[should_panic(expected = "an event was lost")]
fn without_the_lock_an_event_is_lost() {
    let model = model::two_ports_of_one_priority_both_arrive;
    explore("without the lock", Some(PREEMPTIONS), model);
}
