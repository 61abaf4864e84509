//! Histograms of durations.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The first bucket covers everything below 2^10 ns, the last one 2^36 ns (69 s) and more.
const LOWEST: u32 = 10;
const HIGHEST: u32 = 36;
/// Each power of two between them has 2^3 buckets.
const PRECISION: u32 = 3;
const BUCKETS: usize = (((HIGHEST - LOWEST) << PRECISION) + 2) as usize;

/// Counts durations while other threads read them. Counting takes a few nanoseconds and no lock.
#[derive(Debug)]
pub(crate) struct LatencyCounter {
    buckets: [AtomicU64; BUCKETS],
}

impl Default for LatencyCounter {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS] }
    }
}

impl LatencyCounter {
    pub(crate) fn count(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get(bucket_of(nanoseconds)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Latencies {
        Latencies::new(self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect())
    }
}

/// A histogram of durations.
///
/// The width of a bucket is at most an eighth of its lower end, so a reported duration is at most that much too long.
/// All durations below 1024 ns share a bucket, and so do those of 69 s and more.
///
/// Serialized, it is a list of the non-empty buckets: `{"buckets": [{"end_ns": 1152, "count": 3}]}`. `end_ns` is the upper
/// end in nanoseconds, without which the bucket is that of 69 s and more.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Buckets", into = "Buckets")]
pub struct Latencies {
    counts: Vec<u64>,
}

/// The serialized form.
#[derive(Serialize, Deserialize)]
struct Buckets {
    buckets: Vec<Bucket>,
}

#[derive(Serialize, Deserialize)]
struct Bucket {
    end_ns: Option<u64>,
    count: u64,
}

impl From<Latencies> for Buckets {
    fn from(latencies: Latencies) -> Self {
        let filled = latencies.counts.iter().take(BUCKETS).enumerate().filter(|(_, count)| **count > 0);
        let end = |bucket| (bucket < BUCKETS - 1).then(|| end_of(bucket));
        Self { buckets: filled.map(|(bucket, count)| Bucket { end_ns: end(bucket), count: *count }).collect() }
    }
}

impl From<Buckets> for Latencies {
    fn from(Buckets { buckets }: Buckets) -> Self {
        let mut counts = vec![0_u64; BUCKETS];
        for Bucket { end_ns, count } in buckets {
            let bucket = end_ns.map_or(BUCKETS - 1, |end| bucket_of(end.saturating_sub(1)));
            if let Some(total) = counts.get_mut(bucket) {
                *total = total.saturating_add(count);
            }
        }
        Self::new(counts)
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut latencies = f.debug_struct("Latencies");
        latencies.field("total", &self.total());
        if let (Some(median), Some(most)) = (self.percentile(50.0), self.percentile(99.0)) {
            latencies.field("median", &median).field("percentile_99", &most);
        }
        latencies.finish_non_exhaustive()
    }
}

impl Latencies {
    /// Without empty buckets at the end, so that equal histograms are equal.
    fn new(mut counts: Vec<u64>) -> Self {
        counts.truncate(counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1));
        Self { counts }
    }

    /// The number of counted durations.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The duration that `percent` percent of all did not exceed, rounded up to the end of a bucket; none if nothing
    /// was counted.
    /// With 50, that is the median.
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        let total = self.total();
        // The rank of the requested duration, from 1.
        let rank = ((percent.clamp(0.0, 100.0) / 100.0 * total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        self.buckets().find_map(|(end, count)| {
            seen += count;
            (seen >= rank && total > 0).then_some(end)
        })
    }

    /// The non-empty buckets in order: their upper ends and counts.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let counts = self.counts.iter().take(BUCKETS).enumerate();
        counts.filter(|(_, count)| **count > 0).map(|(bucket, count)| (Duration::from_nanos(end_of(bucket)), *count))
    }

    /// The durations counted since `earlier`, which must be from the same run.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = earlier.counts.iter().copied().chain(std::iter::repeat(0));
        Self::new(self.counts.iter().zip(before).map(|(now, before)| now.saturating_sub(before)).collect())
    }
}

fn bucket_of(nanoseconds: u64) -> usize {
    let Some(power) = nanoseconds.checked_ilog2().filter(|power| *power >= LOWEST) else { return 0 };
    if power >= HIGHEST {
        return BUCKETS - 1;
    }
    let within = (nanoseconds >> (power - PRECISION)) & ((1 << PRECISION) - 1);
    1 + (((power - LOWEST) as usize) << PRECISION) + within as usize
}

/// The upper end of a bucket. The last bucket is open, and its lower end is returned.
fn end_of(bucket: usize) -> u64 {
    let Some(regular) = bucket.checked_sub(1) else { return 1 << LOWEST };
    let (power, within) = (LOWEST + (regular >> PRECISION) as u32, (regular & ((1 << PRECISION) - 1)) as u64);
    if power >= HIGHEST {
        return 1 << HIGHEST;
    }
    ((1 << PRECISION) + within + 1) << (power - PRECISION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_in_a_bucket_that_is_an_eighth_wide() {
        let mut previous = 0;
        for nanoseconds in (0..64).flat_map(|power| (0..16).map(move |i| (1_u64 << power) + (i << power) / 16)) {
            let bucket = bucket_of(nanoseconds);
            assert!(bucket < BUCKETS && (bucket >= previous || nanoseconds < 32), "{nanoseconds}");
            previous = bucket;
            if (1 << LOWEST..1 << HIGHEST).contains(&nanoseconds) {
                let end = end_of(bucket);
                assert!(nanoseconds < end && end - nanoseconds <= nanoseconds / 8 + 1, "{nanoseconds} ends at {end}");
            }
        }
        assert_eq!(end_of(BUCKETS - 1), 1 << HIGHEST);
    }

    #[test]
    fn other_languages_get_the_buckets() {
        let counter = LatencyCounter::default();
        for nanoseconds in [3, 1100, 1100, (1 << HIGHEST) - 1, 1 << HIGHEST, u64::MAX] {
            counter.count(Duration::from_nanos(nanoseconds));
        }
        let latencies = counter.read();
        let json = serde_json::json!({ "buckets": [
            { "end_ns": 1024, "count": 1 },
            { "end_ns": 1152, "count": 2 },
            { "end_ns": 1_u64 << HIGHEST, "count": 1 },
            { "end_ns": null, "count": 2 },
        ] });
        assert_eq!(serde_json::to_value(&latencies).unwrap(), json);
        assert_eq!(serde_json::from_value::<Latencies>(json).unwrap(), latencies);
        assert_eq!(serde_json::from_str::<Latencies>(r#"{"buckets":[]}"#).unwrap(), LatencyCounter::default().read());
        // Buckets of others are added to those in which they end.
        let others = r#"{"buckets":[{"end_ns":0,"count":18446744073709551615},{"end_ns":1,"count":2}]}"#;
        assert_eq!(serde_json::from_str::<Latencies>(others).unwrap().total(), u64::MAX);
    }

    #[test]
    fn percentiles_are_where_they_should_be() {
        let counter = LatencyCounter::default();
        assert_eq!(counter.read().percentile(50.0), None);
        (1..=100).for_each(|i| counter.count(Duration::from_micros(i * 100)));
        let latencies = counter.read();
        assert_eq!(latencies.total(), 100);
        for (percent, exact) in [(0.0, 100), (50.0, 5000), (99.0, 9900), (100.0, 10_000)] {
            let found = latencies.percentile(percent).unwrap().as_micros();
            assert!(found >= exact && found <= exact + exact / 8 + 1, "{percent}: {found}");
        }
        counter.count(Duration::MAX);
        let since = counter.read().since(&latencies);
        assert_eq!((since.total(), since.percentile(1.0)), (1, Some(Duration::from_nanos(1 << HIGHEST))));
    }
}
