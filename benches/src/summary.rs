//! A summary of a series of measurements.

use std::time::Duration;

/// The median and the extremes of a series. There is no mean, because a single scheduling delay would distort it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Summary {
    pub median: Duration,
    pub min: Duration,
    pub max: Duration,
}

impl Summary {
    /// The summary; `None` for an empty series.
    pub fn of(series: &[Duration]) -> Option<Self> {
        let mut sorted = series.to_vec();
        sorted.sort_unstable();
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len().is_multiple_of(2) { (sorted[middle - 1] + sorted[middle]) / 2 } else { sorted[middle] };
        Some(Self { median, min, max })
    }
}

/// A duration in milliseconds, formatted for tables.
pub fn milliseconds(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(series: &[u64]) -> Option<Summary> {
        Summary::of(&series.iter().copied().map(Duration::from_millis).collect::<Vec<_>>())
    }

    #[test]
    fn one_outlier_moves_only_its_end() {
        let [median, min, max] = [3, 1, 100].map(Duration::from_millis);
        assert_eq!(summary(&[100, 3, 1]), Some(Summary { median, min, max }));
    }

    #[test]
    fn an_even_series_has_its_median_between_the_middle_ones() {
        assert_eq!(summary(&[4, 1, 2, 9]).map(|s| s.median), Some(Duration::from_millis(3)));
        assert_eq!(summary(&[]), None);
    }

    #[test]
    fn milliseconds_have_two_places() {
        assert_eq!(milliseconds(Duration::from_micros(2676)), "2.68");
    }
}
