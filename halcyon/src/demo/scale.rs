//! How large a demo is: one guest with a big disk and many loads, or many with a small one each.
//!
//! Pure: from the command line to numbers.

use std::time::Duration;

use crate::cli::args::DemoArgs;
use crate::guest::wire::{Load, Pattern};

/// Requests of the mixed load, over all guests, and how long it lasts at least with one.
const REQUESTS: u64 = 100_000;
const MIXED_SECONDS: u64 = 10;
/// Fewest requests per guest, so that each has read, written and flushed.
const REQUESTS_PER_GUEST_MIN: u64 = 200;
/// How long each load of one kind lasts.
const PURE_SECONDS: u64 = 2;
/// A whole ring.
const DEPTH: u32 = 32;

/// See the head of this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Guests.
    pub vms: u32,
    /// Bytes of each scratch disk.
    pub disk_bytes: u64,
    /// Bytes of each guest's memory.
    pub memory_bytes: u64,
    /// What runs, with its name.
    pub loads: Vec<(&'static str, Load)>,
    /// How long all is idle then.
    pub idle: Duration,
    /// What runs after the idleness, after reconnecting and after a reboot.
    pub again: Load,
}

impl Scale {
    /// The demo that a command line asks for.
    #[must_use]
    pub fn of(args: &DemoArgs) -> Self {
        if args.vms > 1 {
            Self::many(args)
        } else {
            Self::one(args)
        }
    }

    fn one(args: &DemoArgs) -> Self {
        let write = args.disk.is_none() || args.write;
        let load = |pattern, requests, seconds| Load {
            pattern,
            seed: args.seed,
            depth: DEPTH,
            requests,
            seconds,
            write,
        };
        let writes = [
            (
                "sequential write 44 KiB",
                load(Pattern::SequentialWrite, 0, PURE_SECONDS),
            ),
            (
                "random write 4 KiB",
                load(Pattern::RandomWrite, 0, PURE_SECONDS),
            ),
        ];
        let reads = [
            (
                "sequential read 44 KiB",
                load(Pattern::SequentialRead, 0, PURE_SECONDS),
            ),
            (
                "random read 4 KiB",
                load(Pattern::RandomRead, 0, PURE_SECONDS),
            ),
        ];
        let requests = args.requests.unwrap_or(REQUESTS);
        let mixed = (
            "mixed, with flushes",
            load(Pattern::Mixed, requests, MIXED_SECONDS),
        );
        let writes = writes.into_iter().filter(|_| write);
        Self {
            vms: 1,
            disk_bytes: 256 << 20,
            memory_bytes: 64 << 20,
            loads: writes.chain(reads).chain([mixed]).collect(),
            idle: Duration::from_secs(5),
            again: load(Pattern::Mixed, requests.div_ceil(10), 0),
        }
    }

    fn many(args: &DemoArgs) -> Self {
        let share = args
            .requests
            .unwrap_or(REQUESTS)
            .div_ceil(u64::from(args.vms));
        let load = |requests| Load {
            pattern: Pattern::Mixed,
            seed: args.seed,
            // As many under way on the host as one guest with two disks would have, or one each.
            depth: (2 * DEPTH).div_ceil(args.vms).max(2),
            requests,
            seconds: 0,
            write: true,
        };
        let each = share.max(REQUESTS_PER_GUEST_MIN);
        Self {
            vms: args.vms,
            disk_bytes: 4 << 20,
            memory_bytes: 16 << 20,
            loads: vec![("mixed, with flushes", load(each))],
            idle: Duration::from_secs(30),
            again: load(each.div_ceil(10)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(vms: u32, disk: Option<&str>) -> DemoArgs {
        let disk = disk.map(Into::into);
        DemoArgs {
            disk,
            write: false,
            vms,
            requests: None,
            seed: 1,
            json: false,
        }
    }

    #[test]
    fn a_users_disk_is_not_written_to_unless_told() {
        let scale = Scale::of(&args(1, Some("/x")));
        assert!(scale.loads.iter().all(|(_, load)| !load.write));
        assert!(!scale.again.write);
    }

    #[test]
    fn one_guest_makes_a_hundred_thousand_mixed_requests_for_ten_seconds() {
        let scale = Scale::of(&args(1, None));
        let (_, mixed) = scale.loads.last().unwrap();
        assert_eq!((mixed.requests, mixed.seconds), (100_000, 10));
    }

    #[test]
    fn many_guests_share_the_requests_and_each_has_a_minimum() {
        assert_eq!(Scale::of(&args(4, None)).loads[0].1.requests, 25_000);
        assert_eq!(Scale::of(&args(1000, None)).loads[0].1.requests, 200);
    }
}
