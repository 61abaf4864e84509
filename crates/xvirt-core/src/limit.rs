//! The token bucket that limits the rate of a device's operations and bytes.
//!
//! A [`Limiter`] has a bucket for operations and one for bytes, where they are limited. A bucket with rate `r` and
//! burst `b` has these properties:
//!
//! - It starts full with `b` tokens, gains `r` tokens per second, and never holds more than `b`.
//! - A request for `n` tokens is granted when it holds `n`, or if `n` exceeds `b`, when it is full. Missing tokens
//!   become a debt, which must be repaid before the next grant. So no request waits forever, however large it is.
//! - In any interval of length `t`, at most `b + r·t` tokens are granted, plus the debt of the last grant. A client
//!   that always retries at the given time gets all of `r·t`.
//! - Tokens are counted in billionths, of which `r` are gained per nanosecond, so nothing is lost to rounding.
//!
//! A grant takes from both buckets or from neither. A change of the limits keeps earned tokens, up to the new burst,
//! and converts a debt so that it is repaid at the same time as before. A newly added limit starts full.
//!
//! The caller passes the time to each call. Time never goes backwards: an earlier time counts as the latest one seen. A
//! limiter has no lock; callers that share one must lock it.

use std::time::{Duration, Instant};

use crate::config::{ByteSize, RateLimit};

/// Billionths per token, and nanoseconds per second.
const BILLION: i128 = 1_000_000_000;
/// The default burst is this fraction of a second's worth.
const BURST_PARTS: u64 = 10;
/// The longest debt after a change in nanoseconds (73 years), which avoids overflow at any rate.
const MAX_DEBT: u128 = 1 << 61;

/// Grants operations and bytes as described in the [module](self).
#[derive(Debug)]
pub(crate) struct Limiter {
    limit: RateLimit,
    operations: Option<Bucket>,
    bytes: Option<Bucket>,
    /// The time up to which the buckets were filled.
    filled: Instant,
}

impl Limiter {
    /// A limiter that is full at `now`. The limit must be valid.
    pub(crate) fn new(limit: RateLimit, now: Instant) -> Self {
        let mut limiter = Self { limit: RateLimit::none(), operations: None, bytes: None, filled: now };
        limiter.change(limit, now);
        limiter
    }

    /// The limit in force.
    pub(crate) fn limit(&self) -> RateLimit {
        self.limit
    }

    /// Changes the limit.
    pub(crate) fn change(&mut self, limit: RateLimit, now: Instant) {
        self.fill(now);
        let bytes = |size: Option<ByteSize>| size.map(ByteSize::bytes);
        self.operations = changed(self.operations.take(), limit.operations_per_second, limit.operations_burst);
        self.bytes = changed(self.bytes.take(), bytes(limit.bytes_per_second), bytes(limit.bytes_burst));
        self.limit = limit;
    }

    /// Grants one operation of `bytes` bytes, or returns the time for a retry, provided that nothing else is granted
    /// meanwhile.
    pub(crate) fn grant(&mut self, bytes: u64, now: Instant) -> Result<(), Instant> {
        let wait = self.wait(bytes, now);
        if !wait.is_zero() {
            // An unrepresentable time is replaced with one far in the future.
            return Err(now.checked_add(wait).unwrap_or(now + Duration::from_secs(3600)));
        }
        if let Some(bucket) = &mut self.operations {
            bucket.take(1);
        }
        if let Some(bucket) = &mut self.bytes {
            bucket.take(bytes);
        }
        Ok(())
    }

    /// The time from `now` until one operation of `bytes` bytes can be granted.
    fn wait(&mut self, bytes: u64, now: Instant) -> Duration {
        self.fill(now);
        let operations = self.operations.as_ref().map_or(Duration::ZERO, |bucket| bucket.wait(1));
        operations.max(self.bytes.as_ref().map_or(Duration::ZERO, |bucket| bucket.wait(bytes)))
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled);
        for bucket in [&mut self.operations, &mut self.bytes].into_iter().flatten() {
            bucket.fill(elapsed);
        }
        self.filled = self.filled.max(now);
    }
}

/// Converts a bucket to a new limit.
fn changed(old: Option<Bucket>, rate: Option<u64>, burst: Option<u64>) -> Option<Bucket> {
    let rate = rate?;
    let burst = burst.unwrap_or_else(|| rate.div_ceil(BURST_PARTS));
    Some(match old {
        Some(bucket) => bucket.changed(rate, burst),
        None => Bucket::full(rate, burst),
    })
}

/// A bucket. Rate and burst are not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    /// Tokens gained per second.
    rate: u64,
    /// The most tokens it holds.
    burst: u64,
    /// Its level in billionths of tokens; negative for a debt.
    level: i128,
}

impl Bucket {
    fn full(rate: u64, burst: u64) -> Self {
        let (rate, burst) = (rate.max(1), burst.max(1));
        Self { rate, burst, level: billionths(burst) }
    }

    fn changed(self, rate: u64, burst: u64) -> Self {
        let new = Self::full(rate, burst);
        let level = if self.level < 0 {
            // In whole nanoseconds, rounded up.
            let nanoseconds = self.level.unsigned_abs().div_ceil(self.rate.into()).min(MAX_DEBT);
            0_i128.saturating_sub_unsigned(nanoseconds * u128::from(new.rate))
        } else {
            self.level.min(new.level)
        };
        Self { level, ..new }
    }

    fn fill(&mut self, elapsed: Duration) {
        let gained = i128::try_from(elapsed.as_nanos()).unwrap_or(i128::MAX).saturating_mul(self.rate.into());
        self.level = self.level.saturating_add(gained).min(billionths(self.burst));
    }

    /// The time until `count` tokens can be granted.
    fn wait(&self, count: u64) -> Duration {
        let missing = billionths(count.min(self.burst)) - self.level;
        if missing <= 0 {
            return Duration::ZERO;
        }
        // Rounded up, because retrying too early would fail.
        let nanoseconds = missing.unsigned_abs().div_ceil(self.rate.into());
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// Takes `count` tokens, which must be available.
    fn take(&mut self, count: u64) {
        self.level -= billionths(count);
    }
}

fn billionths(tokens: u64) -> i128 {
    i128::from(tokens) * BILLION
}

#[cfg(test)]
mod tests;
