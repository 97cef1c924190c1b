//! How long things took: a histogram of atomic counters, which costs two additions and no lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds in microseconds: from a refusal in memory to the longest wait for a backend.
const BOUNDS: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000, 30_000_000,
];

/// Durations of one kind. Clones count into the same place.
#[derive(Debug, Clone, Default)]
pub struct Durations(Arc<Cells>);

/// Equal are handles of the same place.
impl PartialEq for Durations {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Durations {}

#[derive(Debug, Default)]
struct Cells {
    /// One for each bound, and one for what is longer than all of them.
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Durations {
    /// Something took so long.
    pub fn took(&self, took: Duration) {
        let at = BOUNDS.partition_point(|bound| Duration::from_micros(*bound) < took);
        if let Some(count) = self.0.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// How many, and how long all together.
    fn sums(&self) -> (Vec<(f64, u64)>, u64, f64) {
        let bounds = BOUNDS.iter().map(|bound| Duration::from_micros(*bound).as_secs_f64());
        let buckets: Vec<_> = bounds
            .chain(std::iter::once(f64::INFINITY))
            .zip(&self.0.counts)
            .map(|(bound, count)| (bound, count.load(Ordering::Relaxed)))
            .collect();
        // Counted once: a number that grows meanwhile must not make the whole less than its parts.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let total = Duration::from_nanos(self.0.nanoseconds.load(Ordering::Relaxed));
        (buckets, count, total.as_secs_f64())
    }
}

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        let (buckets, count, total) = self.sums();
        encoder.encode_histogram::<NoLabelSet>(total, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Durations {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bound belongs to its bucket, and what is longer than all of them to the last.
    #[test]
    fn buckets() {
        let durations = Durations::default();
        let table = [(0, 0), (100, 0), (101, 1), (30_000_000, 15), (30_000_001, 16), (90_000_000, 16)];
        for (microseconds, _) in table {
            durations.took(Duration::from_micros(microseconds));
        }
        let (buckets, count, total) = durations.sums();
        let expected = |at: usize| table.iter().filter(|(_, bucket)| *bucket == at).count() as u64;
        let counts: Vec<_> = buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, (0..=BOUNDS.len()).map(expected).collect::<Vec<_>>());
        assert_eq!((count, total), (6, 150.000_202));
        assert_eq!(buckets.last().map(|(bound, _)| *bound), Some(f64::INFINITY));
    }
}
