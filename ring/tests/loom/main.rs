//! The memory order of the ring, explored: no wake-up is lost between publish and arm.
//!
//! The algorithm's file is compiled here a second time, against loom's atomics. Bounded models run
//! always; the unbounded ones are run by name. `tests/loom_unfenced` shows that the model would
//! notice a missing fence.

use loom::model::Builder;

mod model;

#[path = "../../src/order.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the model uses a part of the file"
)]
mod order;

/// What `order` is built from, here.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU32, Ordering, fence};
}

/// Preemptions that the ordinary models explore; `LOOM_MAX_PREEMPTIONS` may raise it.
const PREEMPTION_BOUND: usize = 3;

fn bounded(model: fn()) {
    let asked = Builder::new().preemption_bound.unwrap_or(0);
    let bound = asked.max(PREEMPTION_BOUND);
    println!("preemption bound {bound}");
    model::explorer(Some(bound)).check(model);
}

fn unbounded(model: fn()) {
    model::explorer(None).check(model);
}

#[test]
fn no_wake_up_is_lost_between_publish_and_arm() {
    bounded(model::one_way);
}

#[test]
fn slots_are_handed_over_both_ways() {
    bounded(model::both_ways);
}

#[test]
#[ignore = "explores every interleaving: ten seconds"]
fn no_wake_up_is_lost_between_publish_and_arm_unbounded() {
    unbounded(model::one_way);
}

#[test]
#[ignore = "explores every interleaving: hours"]
fn slots_are_handed_over_both_ways_unbounded() {
    unbounded(model::both_ways);
}
