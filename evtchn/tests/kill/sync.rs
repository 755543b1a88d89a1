//! What the algorithm's files find under `super::sync` in this test: atomics that announce every
//! access before it happens, so that a test can stop its caller there, or let somebody else act.

use std::cell::{Cell, RefCell};
use std::sync::atomic;

pub(crate) use std::sync::atomic::Ordering;

type Hook = Box<dyn FnMut(u32)>;

thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    static ACCESSES: Cell<u32> = const { Cell::new(0) };
}

/// Runs `body`; `hook` is called before each of its accesses with the number of those before. The
/// hook's own accesses are not announced. `None` if the hook killed the body, by [`kill`].
pub(crate) fn with_hook<T>(hook: impl FnMut(u32) + 'static, body: impl FnOnce() -> T) -> Option<T> {
    ACCESSES.set(0);
    HOOK.set(Some(Box::new(hook)));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    HOOK.set(None);
    match outcome {
        Ok(value) => Some(value),
        Err(payload) if payload.is::<Killed>() => None,
        Err(payload) => std::panic::resume_unwind(payload),
    }
}

struct Killed;

/// Ends the body of [`with_hook`] on the spot. Nothing it holds is released.
pub(crate) fn kill() -> ! {
    std::panic::resume_unwind(Box::new(Killed))
}

fn announce() {
    let Some(mut hook) = HOOK.take() else { return };
    let access = ACCESSES.get();
    hook(access);
    // The hook may have had accesses announced to a hook of its own.
    ACCESSES.set(access + 1);
    HOOK.set(Some(hook));
}

/// Nobody else runs while a test's only thread waits.
pub(crate) fn pause(_round: u32) -> bool {
    false
}

#[derive(Debug, Default)]
pub(crate) struct AtomicU32(atomic::AtomicU32);

macro_rules! announced {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)*) => {
        impl AtomicU32 {$(
            pub(crate) fn $name(&self, $($arg: $ty),*) -> $out {
                announce();
                self.0.$name($($arg),*)
            }
        )*}
    };
}

announced! {
    load(order: Ordering) -> u32;
    store(value: u32, order: Ordering) -> ();
    swap(value: u32, order: Ordering) -> u32;
    fetch_or(value: u32, order: Ordering) -> u32;
    fetch_and(value: u32, order: Ordering) -> u32;
    fetch_xor(value: u32, order: Ordering) -> u32;
    compare_exchange(old: u32, new: u32, success: Ordering, failure: Ordering) -> Result<u32, u32>;
}
