//! Measures rounds that time themselves and can fail.

use std::time::Duration;

use criterion::{BenchmarkGroup, measurement::WallTime};
use xvirt_benches::Result;

/// Measures the time that `round` returns. Criterion does not support failures, so the first one is stored until it is
/// done.
pub fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    mut round: impl FnMut() -> Result<Duration>,
) -> Result<()> {
    let mut failure = None;
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|rounds| {
            let mut sum = Duration::ZERO;
            for _ in 0..rounds {
                match round() {
                    Ok(time) => sum += time,
                    Err(error) => {
                        failure.get_or_insert(error);
                        // A long time, so that criterion stops soon.
                        return Duration::from_secs(10);
                    }
                }
            }
            sum
        });
    });
    failure.map_or(Ok(()), Err)
}
