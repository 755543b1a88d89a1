//! What hypercalls cost and how many there were.
//!
//! A notification, a grant copy or an unmask of the simulation is a system call, as it is on
//! Xen; what Xen adds on top can be put on as a price, which is spent spinning.
//!
//! Invariant: a price of nothing reads no clock.

use std::time::{Duration, Instant};

/// What one hypercall costs on top of the system call that stands for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Nanoseconds that each hypercall spins.
    pub ns: u64,
}

impl Price {
    /// Nothing on top.
    pub const FREE: Self = Self { ns: 0 };
}

/// Counts system calls and charges the price.
#[derive(Debug)]
pub(super) struct Meter {
    price: Price,
    system_calls: u64,
}

impl Meter {
    pub(super) fn new(price: Price) -> Self {
        Self {
            price,
            system_calls: 0,
        }
    }

    pub(super) fn system_calls(&self) -> u64 {
        self.system_calls
    }

    /// One system call that stands for a hypercall.
    pub(super) fn hypercall(&mut self) {
        self.system_call();
        self.charge();
    }

    /// The price of one hypercall.
    pub(super) fn charge(&self) {
        if self.price != Price::FREE {
            let until = Instant::now() + Duration::from_nanos(self.price.ns);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
        }
    }

    /// One system call that Xen would not charge for.
    pub(super) fn system_call(&mut self) {
        self.system_calls += 1;
    }
}
