//! The token bucket that limits the rate of a device's operations and bytes.
//!
//! A [`Limiter`] counts operations and bytes, each against a bucket of its own where there is a limit. A bucket of rate
//! `r` and burst `b` keeps this contract:
//!
//! - It starts full, with `b` tokens, gains `r` of them in every second, and never holds more than `b`.
//! - `n` tokens are granted when it holds `n`, or when it is full where `n` is more than `b`. What is missing is a debt,
//!   which has to be earned before anything else is granted. So nothing waits for ever, however large it is.
//! - In any time `t`, from whichever moment on, at most `b + r·t` tokens are granted, and beyond that only the debt of the
//!   last grant. Whoever always asks again when told to gets all of `r·t`.
//! - Tokens are counted in billionths, of which `r` are gained in each nanosecond: nothing is ever rounded away.
//!
//! A grant takes from both buckets or from none. A change of the limits keeps what has been earned, up to the new burst,
//! and keeps a debt in time: it will be paid at the moment it would have been paid at. A limit that was not there before
//! starts full.
//!
//! Time is given to every call; it never goes backwards, and a moment before the last one counts as the last one. There is
//! no lock in here: whoever shares a limiter puts one around it.

use std::time::{Duration, Instant};

use crate::config::{ByteSize, RateLimit};

/// Billionths in a token, and nanoseconds in a second.
const BILLION: i128 = 1_000_000_000;
/// Where no burst is given, what this part of a second allows.
const BURST_PARTS: u64 = 10;
/// Nanoseconds that a debt takes at most after a change, 73 years, so that no rate makes it more than can be counted.
const MAX_DEBT: u128 = 1 << 61;

/// Grants operations and bytes. See the [module](self) for its contract.
#[derive(Debug)]
pub(crate) struct Limiter {
    limit: RateLimit,
    operations: Option<Bucket>,
    bytes: Option<Bucket>,
    /// Up to when the buckets have been filled.
    filled: Instant,
}

impl Limiter {
    /// A limiter that is full at `now`. The limit has been checked.
    pub(crate) fn new(limit: RateLimit, now: Instant) -> Self {
        let mut limiter = Self { limit: RateLimit::none(), operations: None, bytes: None, filled: now };
        limiter.change(limit, now);
        limiter
    }

    /// The limit in force.
    pub(crate) fn limit(&self) -> RateLimit {
        self.limit
    }

    /// Puts another limit in force.
    pub(crate) fn change(&mut self, limit: RateLimit, now: Instant) {
        self.fill(now);
        let bytes = |size: Option<ByteSize>| size.map(ByteSize::bytes);
        self.operations = changed(self.operations.take(), limit.operations_per_second, limit.operations_burst);
        self.bytes = changed(self.bytes.take(), bytes(limit.bytes_per_second), bytes(limit.bytes_burst));
        self.limit = limit;
    }

    /// Grants one operation of so many bytes, or says when to ask again, provided that nothing else is granted meanwhile.
    pub(crate) fn grant(&mut self, bytes: u64, now: Instant) -> Result<(), Instant> {
        let wait = self.wait(bytes, now);
        if !wait.is_zero() {
            // So far ahead that there is no such moment is the same as a long time ahead.
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

    /// How long it will be from `now` on until one operation of so many bytes can be granted.
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

/// What becomes of a bucket when its limit changes.
fn changed(old: Option<Bucket>, rate: Option<u64>, burst: Option<u64>) -> Option<Bucket> {
    let rate = rate?;
    let burst = burst.unwrap_or_else(|| rate.div_ceil(BURST_PARTS));
    Some(match old {
        Some(bucket) => bucket.changed(rate, burst),
        None => Bucket::full(rate, burst),
    })
}

/// One bucket. Neither rate nor burst is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    /// Tokens gained in a second.
    rate: u64,
    /// Tokens that it holds at most.
    burst: u64,
    /// Billionths of tokens that it holds; a debt when negative.
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

    /// How long it takes until `count` tokens can be granted.
    fn wait(&self, count: u64) -> Duration {
        let missing = billionths(count.min(self.burst)) - self.level;
        if missing <= 0 {
            return Duration::ZERO;
        }
        // Rounded up: asking a moment too early would only mean asking again.
        let nanoseconds = missing.unsigned_abs().div_ceil(self.rate.into());
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// Takes `count` tokens, which can be granted now.
    fn take(&mut self, count: u64) {
        self.level -= billionths(count);
    }
}

fn billionths(tokens: u64) -> i128 {
    i128::from(tokens) * BILLION
}

#[cfg(test)]
mod tests;
