use xvirt_testing::random::Random;

use super::*;

/// A grant: nanoseconds since the start, and bytes.
type Grant = (u64, u64);

const SECOND: u64 = 1_000_000_000;

fn bytes(rate: u64, burst: u64) -> RateLimit {
    RateLimit::none().bytes_per_second(ByteSize::new(rate)).bytes_burst(ByteSize::new(burst))
}

/// All grants within `seconds` for a client that always has a request and is sometimes a bit late.
fn greedy(limiter: &mut Limiter, start: Instant, seconds: u64, mut size: impl FnMut() -> u64) -> Vec<Grant> {
    let (mut granted, mut now) = (Vec::new(), start);
    let mut request = size();
    while now < start + Duration::from_secs(seconds) {
        match limiter.grant(request, now) {
            Ok(()) => {
                granted.push(((now - start).as_nanos() as u64, request));
                request = size();
                // Every operation takes some time, so that the loop ends even without a limit.
                now += Duration::from_nanos(100);
            }
            Err(later) => {
                assert!(later > now);
                now = later;
            }
        }
    }
    granted
}

/// The largest excess of `measure` over `rate` in any interval of the grants.
fn worst_burst(granted: &[Grant], rate: u64, measure: impl Fn(Grant) -> u64) -> i128 {
    let (mut ahead, mut worst, mut last) = (0_i128, 0_i128, 0);
    for grant in granted {
        ahead = (ahead - i128::from(grant.0 - last) * i128::from(rate)).max(0);
        ahead += billionths(measure(*grant));
        (worst, last) = (worst.max(ahead), grant.0);
    }
    worst
}

#[test]
fn any_mixture_of_sizes_gets_its_rate_and_never_more_than_its_burst() {
    let mut random = Random::new(1);
    for _ in 0..100 {
        let rate = 1000 + random.below_u64(1 << 28);
        let burst = rate / 100 + 1 + random.below_u64(rate / 10);
        let largest = (burst / 2).clamp(1, 256 << 10).max(rate / 5000);
        let mut limiter = Limiter::new(bytes(rate, burst), Instant::now());
        let start = limiter.filled;
        let granted = greedy(&mut limiter, start, 10, || 1 + random.below_u64(largest));
        let total: u64 = granted.iter().map(|grant| grant.1).sum();
        let sustained = (total - burst) as f64 / (10.0 * rate as f64);
        assert!((0.99..1.01).contains(&sustained), "{sustained} of {rate} with a burst of {burst}");
        assert!(worst_burst(&granted, rate, |grant| grant.1) <= billionths(burst), "{rate} {burst}");
    }
}

#[test]
fn operations_count_beside_bytes_and_the_tighter_limit_holds() {
    for (size, operations, total) in [(512, 1000, 512_000), (64 << 10, 16, 1 << 20)] {
        let limit = bytes(1 << 20, 64 << 10).operations_per_second(1000).operations_burst(10);
        let start = Instant::now();
        let granted = greedy(&mut Limiter::new(limit, start), start, 10, || size);
        assert!(granted.len().abs_diff(10 * operations) <= 10, "{} of {size} bytes", granted.len());
        let moved: u64 = granted.iter().map(|grant| grant.1).sum();
        assert!(moved.abs_diff(10 * total) <= 64 << 10, "{moved}");
        assert!(worst_burst(&granted, 1000, |_| 1) <= billionths(10));
        assert!(worst_burst(&granted, 1 << 20, |grant| grant.1) <= billionths(64 << 10));
    }
}

#[test]
fn what_is_larger_than_the_burst_passes_when_full_and_is_paid_for() {
    let start = Instant::now();
    let mut limiter = Limiter::new(bytes(1000, 100), start);
    assert_eq!(limiter.grant(5100, start), Ok(()));
    assert_eq!(limiter.grant(1, start), Err(start + Duration::from_millis(5001)));
    assert_eq!(limiter.grant(5100, start), Err(start + Duration::from_millis(5100)));
    let granted = greedy(&mut limiter, start, 51, || 5100);
    assert_eq!(
        granted.iter().map(|grant| grant.0).collect::<Vec<_>>(),
        (1..10).map(|i| i * 5_100_000_000).collect::<Vec<_>>()
    );
}

#[test]
fn nothing_is_rounded_away() {
    let start = Instant::now();
    // A third of a token per microsecond step, and a step that no rate divides.
    for (rate, step) in [(333_333, 1000), (7, 999_999_937), (1, 1), (u64::from(u32::MAX), 3)] {
        let mut limiter = Limiter::new(bytes(rate, rate * 3), start);
        limiter.grant(rate * 3, start).unwrap();
        let mut now = 0;
        while now < SECOND.min(step * 1_000_000) {
            now += step;
            let _ = limiter.grant(u64::MAX, start + Duration::from_nanos(now));
        }
        let level = limiter.bytes.unwrap().level;
        assert_eq!(level, i128::from(now) * i128::from(rate), "{rate} by {step}");
    }
}

#[test]
fn a_pause_earns_no_more_than_the_burst() {
    let start = Instant::now();
    let mut limiter = Limiter::new(bytes(1000, 100), start);
    let later = start + Duration::from_secs(1 << 40);
    assert_eq!(limiter.grant(100, later), Ok(()));
    assert_eq!(limiter.grant(100, later), Err(later + Duration::from_millis(100)));
    assert_eq!(limiter.grant(1, start), Err(start + Duration::from_millis(1)), "an earlier moment earns nothing");
}

#[test]
fn a_change_keeps_a_debt_in_time_and_what_was_earned() {
    let start = Instant::now();
    let second = Duration::from_secs(1);
    for rate in [1, 10, 1000, 1 << 40] {
        let mut limiter = Limiter::new(bytes(1000, 1000), start);
        limiter.grant(6000, start).unwrap();
        limiter.change(bytes(rate, rate), start + second);
        // Five seconds of debt minus one that has passed, and one second's worth of the new rate.
        assert_eq!(limiter.grant(rate, start + second), Err(start + 6 * second), "{rate}");
    }
    let mut limiter = Limiter::new(bytes(1000, 1000), start);
    limiter.change(bytes(10, 50), start);
    assert_eq!(limiter.grant(50, start), Ok(()));
    assert_eq!(limiter.grant(10, start), Err(start + second));
    limiter.change(bytes(10, 5000), start);
    assert_eq!(limiter.grant(10, start), Err(start + second), "a larger burst is no gift");
    limiter.change(RateLimit::none(), start);
    assert_eq!(limiter.grant(u64::MAX, start), Ok(()));
    limiter.change(bytes(10, 5), start);
    assert_eq!(limiter.grant(5, start), Ok(()), "a new limit starts full");
    assert_eq!(limiter.limit(), bytes(10, 5));
}

#[test]
fn changing_all_the_time_gains_nothing() {
    let start = Instant::now();
    let mut limiter = Limiter::new(bytes(1000, 100), start);
    let mut moved = 0;
    for step in 0..100_000_u64 {
        let now = start + Duration::from_micros(step * 100);
        limiter.change(bytes(if step % 2 == 0 { 1000 } else { 2000 }, 100), now);
        if limiter.grant(30, now).is_ok() {
            moved += 30;
        }
    }
    assert!((14_850..15_150).contains(&(moved - 100)), "{moved}");
}

#[test]
fn the_largest_numbers_do_no_harm() {
    let start = Instant::now();
    let mut limiter = Limiter::new(bytes(u64::MAX, u64::MAX), start);
    assert_eq!(limiter.grant(u64::MAX, start), Ok(()));
    assert_eq!(limiter.grant(u64::MAX, start), Err(start + Duration::from_secs(1)));
    let mut limiter = Limiter::new(bytes(1, 1), start);
    assert_eq!(limiter.grant(u64::MAX, start), Ok(()));
    assert!(limiter.grant(1, start).unwrap_err() > start + Duration::from_secs(3600 - 1));
    limiter.change(bytes(u64::MAX, 1), start);
    assert!(limiter.grant(1, start).is_err());
    assert_eq!(limiter.grant(1, start + Duration::from_secs(1 << 60)), Ok(()));
    let limiter = Limiter::new(RateLimit::none().bytes_per_second(ByteSize::new(5)), start);
    assert_eq!(limiter.bytes.map(|bucket| bucket.burst), Some(1), "a burst is never 0");
}
