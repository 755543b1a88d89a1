//! What the VM processes cost, read from outside: /proc, and the pages they share.
//!
//! Invariant: nothing here wakes the processes it measures.

use std::path::{Path, PathBuf};
use std::time::Duration;

use telemetry::{Distribution, Value};

use crate::error::{Doing as _, Failure};
use crate::guest::wire::Ran;
use crate::proc::{self, memory};
use crate::report::{Idle, Load, Memory, ratio};
use crate::stats;
use crate::vm::counters::{BLOCK, SYSTEM_CALLS};

/// The counter of events sent to a guest, in the block of each device.
const NOTIFIES: &str = "notifies";

/// The processes measured.
#[derive(Clone, Debug)]
pub struct Subjects {
    /// VM processes and where each has its state.
    pub vms: Vec<(u32, PathBuf)>,
    /// Other processes that have to be quiet: the simulated host.
    pub others: Vec<u32>,
}

/// Sums over all VM processes at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    cpu_ns: u64,
    system_calls: u64,
    notifications: u64,
}

impl Subjects {
    /// Reads everything that a load is measured by.
    pub fn read(&self) -> Result<Reading, Failure> {
        let mut sum = Reading::default();
        for (pid, dir) in &self.vms {
            sum.cpu_ns += proc::cpu_ns(*pid).doing(|| format!("read /proc of process {pid}"))?;
            let (system_calls, notifications) = counters(dir)?;
            sum.system_calls += system_calls;
            sum.notifications += notifications;
        }
        Ok(sum)
    }

    /// Watches all of them, and whatever they have started, for `span`.
    pub fn idle(&self, span: Duration) -> Result<Idle, Failure> {
        let before = self.switches()?;
        std::thread::sleep(span);
        let after = self.switches()?;
        Ok(Idle {
            seconds: span.as_secs_f64(),
            tasks: after.tasks(),
            context_switches: after.since(&before),
        })
    }

    /// Memory of the VM processes; `available_before_kib` is MemAvailable before the first guest.
    pub fn memory(&self, available_before_kib: u64) -> Result<Memory, Failure> {
        let available = memory::available_kib().doing(|| "read /proc/meminfo".into())?;
        let fall = available_before_kib.cast_signed() - available.cast_signed();
        let mut result = Memory {
            available_fall_kib_per_vm: fall / i64::try_from(self.vms.len()).unwrap_or(1).max(1),
            ..Memory::default()
        };
        let mut sum = 0;
        for (pid, _) in &self.vms {
            let one = memory::private(*pid).doing(|| format!("read smaps of process {pid}"))?;
            sum += one.total_kib();
            if one.total_kib() > result.largest_kib {
                result.largest = one;
                result.largest_kib = one.total_kib();
            }
        }
        result.mean_kib = sum / (self.vms.len() as u64).max(1);
        Ok(result)
    }

    fn switches(&self) -> Result<proc::Switches, Failure> {
        let mut all = proc::Switches::default();
        for pid in self.vms.iter().map(|(pid, _)| pid).chain(&self.others) {
            let what = || format!("read /proc of process {pid}");
            for one in proc::family(*pid).doing(what)? {
                all.add(proc::switches(one).doing(what)?);
            }
        }
        Ok(all)
    }
}

/// System calls and notifications so far, as the process's shared page says.
fn counters(dir: &Path) -> Result<(u64, u64), Failure> {
    let snapshot = stats::read(dir)?.unwrap_or_default();
    let calls = snapshot
        .block(BLOCK)
        .and_then(|block| block.counter(SYSTEM_CALLS));
    let items = snapshot.blocks.iter().flat_map(|block| &block.items);
    let notifies = items
        .filter(|item| item.name == NOTIFIES)
        .map(|item| match &item.value {
            Value::Counter(count) => *count,
            Value::Histogram(_) => 0,
        });
    Ok((calls.unwrap_or(0), notifies.sum()))
}

/// What a load was and what it cost.
#[must_use]
pub fn load(name: &str, ran: &[Ran], wall: Duration, before: &Reading, after: &Reading) -> Load {
    let sum = |of: fn(&Ran) -> u64| ran.iter().map(of).sum::<u64>();
    let requests = sum(|ran| ran.requests);
    let mut latency = Distribution::default();
    ran.iter().for_each(|ran| latency.merge(&ran.latency()));
    let quantile_us = |per_mille| latency.quantile_ns(per_mille) as f64 / 1e3;
    let own_ns = ran.iter().map(|ran| ran.elapsed_ns).max().unwrap_or(0);
    // One guest knows best; of many the first does not wait for the last.
    let seconds = if ran.len() == 1 {
        own_ns as f64 / 1e9
    } else {
        wall.as_secs_f64()
    };
    let per_request = |count: u64| ratio(count, requests as f64);
    Load {
        name: name.to_owned(),
        seconds,
        requests,
        flushes: sum(|ran| ran.flushes),
        bytes: sum(|ran| ran.bytes),
        p50_us: quantile_us(500),
        p99_us: quantile_us(990),
        p999_us: quantile_us(999),
        cpu_us_per_request: per_request(after.cpu_ns.saturating_sub(before.cpu_ns)) / 1e3,
        system_calls_per_request: per_request(after.system_calls - before.system_calls),
        notifications_per_request: per_request(after.notifications - before.notifications),
    }
}
