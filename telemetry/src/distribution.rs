//! A histogram's values, wherever they were counted, and what is computed from them.

use crate::layout::{BUCKETS, bucket, bucket_start_ns};

/// Durations in nanoseconds, counted by their logarithm in four parts per octave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    pub(crate) buckets: Vec<u64>,
    pub(crate) sum_ns: u64,
    pub(crate) max_ns: u64,
}

impl Default for Distribution {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            sum_ns: 0,
            max_ns: 0,
        }
    }
}

impl Distribution {
    /// Counts one duration.
    pub fn record(&mut self, ns: u64) {
        if let Some(count) = self.buckets.get_mut(bucket(ns)) {
            *count = count.saturating_add(1);
        }
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// The buckets that are not empty: the shortest duration of each and the count in it. What
    /// [`Distribution::record_many`] takes back in another process.
    pub fn entries(&self) -> impl Iterator<Item = (u64, u64)> {
        let counted = self
            .buckets
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0);
        counted.map(|(bucket, count)| (bucket_start_ns(bucket), *count))
    }

    /// Counts a duration several times.
    pub fn record_many(&mut self, ns: u64, times: u64) {
        if let Some(count) = self.buckets.get_mut(bucket(ns)) {
            *count = count.saturating_add(times);
        }
        self.sum_ns = self.sum_ns.saturating_add(ns.saturating_mul(times));
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *count = count.saturating_add(*more);
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many durations.
    pub fn count(&self) -> u64 {
        self.buckets
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Their sum.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// The longest.
    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The arithmetic mean, 0 of nothing.
    pub fn mean_ns(&self) -> u64 {
        self.sum_ns.checked_div(self.count()).unwrap_or(0)
    }

    /// The duration that `per_mille` of a thousand do not exceed (500 is the median, 999 the
    /// p99.9), evenly spread within its bucket; 0 of nothing.
    pub fn quantile_ns(&self, per_mille: u32) -> u64 {
        let count = u128::from(self.count());
        let rank = (count * u128::from(per_mille.min(1000)))
            .div_ceil(1000)
            .max(1);
        let mut before = 0;
        for (bucket, counted) in self.buckets.iter().enumerate() {
            let counted = u128::from(*counted);
            if counted > 0 && before + counted >= rank {
                let within = (rank - before, counted);
                return self.within(bucket, within).min(self.max_ns);
            }
            before += counted;
        }
        0
    }

    /// The place of the `nth` of `count` within a bucket.
    fn within(&self, bucket: usize, (nth, count): (u128, u128)) -> u64 {
        let start = bucket_start_ns(bucket);
        let end = bucket_start_ns(bucket + 1).min(self.max_ns).max(start);
        let width = u128::from(end - start);
        let offset = width * nth / count;
        start.saturating_add(u64::try_from(offset).unwrap_or(u64::MAX))
    }
}
