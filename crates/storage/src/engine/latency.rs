//! How long things took: a histogram that many may write at once, for `Stats`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::contract::Times;

/// Sub-buckets of each power of two: figures are at most an eighth too large.
const SUBS: usize = 8;
const SUB_BITS: u32 = SUBS.trailing_zeros();
const BUCKETS: usize = SUBS * 64;

pub(crate) struct Latency {
    buckets: Vec<AtomicU64>,
    max: AtomicU64,
}

impl Default for Latency {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(), max: AtomicU64::new(0) }
    }
}

impl Latency {
    pub(crate) fn record(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)].fetch_add(1, Ordering::Relaxed);
        self.max.fetch_max(nanos, Ordering::Relaxed);
    }

    pub(crate) fn times(&self) -> Times {
        let counts: Vec<u64> = self.buckets.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let count = counts.iter().sum::<u64>();
        let max = self.max.load(Ordering::Relaxed);
        let percentile = |percent: u64| {
            let wanted = (count * percent).div_ceil(100);
            let mut seen = 0;
            let reached = counts.iter().position(|count| {
                seen += count;
                seen >= wanted
            });
            Duration::from_nanos(reached.map_or(0, upper).min(max))
        };
        Times { count, p50: percentile(50), p99: percentile(99), max: Duration::from_nanos(max) }
    }
}

fn bucket(nanos: u64) -> usize {
    let power = 63 - (nanos | 1).leading_zeros();
    let Some(shift) = power.checked_sub(SUB_BITS) else {
        return usize::try_from(nanos).expect("less than a power's sub-buckets");
    };
    let sub = usize::try_from((nanos >> shift) & (SUBS as u64 - 1)).expect("less than the sub-buckets");
    (shift as usize + 1) * SUBS + sub
}

/// The largest time of a bucket.
fn upper(bucket: usize) -> u64 {
    let Some(shift) = (bucket / SUBS).checked_sub(1) else { return bucket as u64 };
    let first = ((SUBS + bucket % SUBS) as u64) << shift;
    first + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_an_eighth_too_large_at_most() {
        let latency = Latency::default();
        (1..=1000_u64).for_each(|n| latency.record(Duration::from_micros(n)));
        let Times { count, p50, p99, max } = latency.times();
        assert_eq!((count, max), (1000, Duration::from_micros(1000)));
        let near = |got: Duration, micros: u64| {
            let exact = Duration::from_micros(micros);
            assert!(exact <= got && got <= exact + exact / 8, "{got:?} for {exact:?}");
        };
        near(p50, 500);
        near(p99, 990);
        assert_eq!(Latency::default().times(), Times::default());
    }

    #[test]
    fn every_time_is_in_the_bucket_that_ends_at_or_behind_it() {
        let times = (0..64).flat_map(|power| [(1_u64 << power) - 1, 1 << power, (1 << power) + 1]);
        for nanos in times.chain([u64::MAX]) {
            let found = bucket(nanos);
            assert!(upper(found) >= nanos, "{nanos}");
            assert!(found == 0 || upper(found - 1) < nanos, "{nanos}");
        }
    }
}
