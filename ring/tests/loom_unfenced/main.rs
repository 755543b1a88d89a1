//! The model of `tests/loom` around the algorithm with fences that do nothing: it must fail, or it
//! would prove nothing.

#[path = "../loom/model.rs"]
#[expect(dead_code, reason = "one model shows it")]
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
    pub(crate) use loom::sync::atomic::{AtomicU32, Ordering};

    pub(crate) fn fence(_order: Ordering) {}
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_fences_a_wake_up_is_lost() {
    model::explorer(None).check(model::one_way);
}
