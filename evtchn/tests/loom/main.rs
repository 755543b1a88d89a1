//! The FIFO algorithm under loom: every interleaving, and every value a load may see, of two
//! senders and a receiver.
//!
//! The algorithm's files are compiled here a second time, beside loom's atomics (`sync`). The
//! ordinary run bounds preemptions; the ignored tests are unbounded. `tests/loom_unlocked` has the
//! same model with a lock that locks nothing.

#![expect(unreachable_pub, reason = "the files are parts of a library elsewhere")]

#[path = "../../src/fifo/lock.rs"]
mod lock;
mod model;
#[expect(
    dead_code,
    reason = "what recovery and the real memory need is not used here"
)]
#[path = "../../src/fifo/private.rs"]
mod private;
#[path = "../../src/fifo/scan.rs"]
mod scan;
#[path = "../../src/fifo/send.rs"]
mod send;
mod sync;
#[path = "../../src/fifo/words.rs"]
mod words;

use model::{PREEMPTIONS, explore};

macro_rules! models {
    ($($model:ident),*) => {
        mod bounded {$(
            #[test]
            fn $model() {
                super::explore(stringify!($model), Some(super::PREEMPTIONS), super::model::$model);
            }
        )*}

        mod unbounded {$(
            #[test]
            #[ignore = "unbounded model: over 15 minutes"]
            fn $model() {
                super::explore(stringify!($model), None, super::model::$model);
            }
        )*}
    };
}

models!(
    two_ports_of_one_priority_both_arrive,
    two_ports_of_two_priorities_both_arrive,
    a_port_sent_twice_arrives_after_the_last_send,
    a_queue_that_is_being_drained_takes_more,
    a_port_that_changes_its_priority_between_sends_arrives,
    an_event_sent_while_the_receiver_unmasks_arrives
);
