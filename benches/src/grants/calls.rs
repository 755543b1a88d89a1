//! System calls of this thread, counted by the kernel: a histogram on the tracepoint
//! `raw_syscalls:sys_enter`, as Documentation/trace/histogram.rst has it.
//!
//! It knows nothing of what the calls do.
//!
//! Invariant: what counting itself needs is measured first, and taken off.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

/// Where tracefs is, and its tracepoint there.
const EVENT: &str = "/sys/kernel/tracing/events/raw_syscalls/sys_enter";

/// Those that serving a request may take, as x86_64 numbers them.
const NAMES: [(u32, &str); 8] = [
    (0, "read"),
    (1, "write"),
    (9, "mmap"),
    (11, "munmap"),
    (16, "ioctl"),
    (425, "io_uring_setup"),
    (426, "io_uring_enter"),
    (427, "io_uring_register"),
];

/// System calls by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Calls(BTreeMap<u32, u64>);

impl Calls {
    fn parse(histogram: &str) -> Self {
        // `{ id:         16 } hitcount:       1000`
        let count = |line: &str| {
            let (id, hits) = line.strip_prefix("{ id:")?.split_once("} hitcount:")?;
            Some((id.trim().parse().ok()?, hits.trim().parse().ok()?))
        };
        Self(histogram.lines().filter_map(count).collect())
    }

    fn without(mut self, other: &Self) -> Self {
        for (id, hits) in &mut self.0 {
            *hits = hits.saturating_sub(other.0.get(id).copied().unwrap_or(0));
        }
        self.0.retain(|_, hits| *hits > 0);
        self
    }

    pub(super) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// For each of so many requests.
    pub(super) fn each(&self, requests: u64) -> impl fmt::Display {
        let each = |(id, hits): (&u32, &u64)| {
            let name = crate::hypercalls::name(&NAMES, *id).replacen("op", "call", 1);
            format!("{} {name}", super::report::ratio(*hits, requests))
        };
        self.0.iter().map(each).collect::<Vec<_>>().join(" + ")
    }
}

/// The kernel's counter, while it lives.
#[derive(Debug)]
pub(super) struct Counter {
    rule: String,
    own: Calls,
}

impl Counter {
    /// Counts this process's calls from now on.
    pub(super) fn new() -> io::Result<Self> {
        let rule = format!("hist:keys=id if common_pid=={}", std::process::id());
        add(&rule)?;
        let mut counter = Self {
            rule,
            own: Calls::default(),
        };
        // The first look allocates what the second does not.
        counter.during(|| ())?;
        counter.own = counter.during(|| ())?.0;
        Ok(counter)
    }

    /// Does `work` and tells which calls it made.
    pub(super) fn during<T>(&self, work: impl FnOnce() -> T) -> io::Result<(Calls, T)> {
        let before = self.look()?;
        let done = work();
        Ok((self.look()?.without(&before).without(&self.own), done))
    }

    fn look(&self) -> io::Result<Calls> {
        let histogram = [EVENT, "hist"].iter().collect::<PathBuf>();
        Ok(Calls::parse(&fs::read_to_string(histogram)?))
    }
}

/// Adds a rule to those of the tracepoint, or takes it away; opened otherwise, the file forgets all.
fn add(rule: &str) -> io::Result<()> {
    let rules = [EVENT, "trigger"].iter().collect::<PathBuf>();
    let mut rules = OpenOptions::new().append(true).open(rules)?;
    rules.write_all(rule.as_bytes())
}

impl Drop for Counter {
    fn drop(&mut self) {
        if let Err(error) = add(&format!("!{}", self.rule)) {
            tracing::warn!("the kernel goes on counting: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HISTOGRAM: &str = "# event histogram\n\n{ id:          3 } hitcount:          1\n\
        { id:         16 } hitcount:       2000\n\nTotals:\n    Hits: 2001\n";

    #[test]
    fn a_histogram_is_read_by_number() {
        let calls = Calls::parse(HISTOGRAM);
        assert_eq!(calls.total(), 2001);
        assert_eq!(calls.0[&16], 2000);
    }

    #[test]
    fn what_was_there_before_is_taken_off() {
        let before = Calls::parse("{ id: 3 } hitcount: 1\n{ id: 16 } hitcount: 1000\n");
        let calls = Calls::parse(HISTOGRAM).without(&before);
        assert_eq!(calls.each(1000).to_string(), "1 ioctl");
    }
}
