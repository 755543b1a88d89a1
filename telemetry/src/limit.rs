//! A limit on what a guest can make us write to the log.

/// At most `burst` messages at once and one more per interval. Time is an argument; nothing runs.
#[derive(Clone, Debug)]
pub struct RateLimit {
    burst: u64,
    interval_ns: u64,
    /// Messages that may pass now.
    tokens: u64,
    /// Up to when tokens have been given out.
    filled_ns: u64,
    suppressed: u64,
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Write it.
    Pass {
        /// And say that so many were left out before it.
        suppressed: u64,
    },
    /// Leave it out.
    Suppress,
}

impl RateLimit {
    /// A full limiter; `now_ns` is the time of its making.
    pub fn new(burst: u32, interval_ns: u64, now_ns: u64) -> Self {
        let burst = u64::from(burst);
        Self {
            burst,
            interval_ns,
            tokens: burst,
            filled_ns: now_ns,
            suppressed: 0,
        }
    }

    /// Whether a message may pass at `now_ns`.
    pub fn check(&mut self, now_ns: u64) -> Verdict {
        self.fill(now_ns);
        let Some(left) = self.tokens.checked_sub(1) else {
            self.suppressed = self.suppressed.saturating_add(1);
            return Verdict::Suppress;
        };
        self.tokens = left;
        Verdict::Pass {
            suppressed: std::mem::take(&mut self.suppressed),
        }
    }

    fn fill(&mut self, now_ns: u64) {
        let passed_ns = now_ns.saturating_sub(self.filled_ns);
        let fresh = passed_ns.checked_div(self.interval_ns).unwrap_or(u64::MAX);
        self.tokens = self.tokens.saturating_add(fresh).min(self.burst);
        // The part of an interval that has passed already stays counted.
        let spent_ns = fresh.saturating_mul(self.interval_ns);
        self.filled_ns = self
            .filled_ns
            .saturating_add(spent_ns)
            .min(now_ns.max(self.filled_ns));
    }
}
