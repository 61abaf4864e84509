//! Decides after each round whether to send another one, to slow the guest down, or to stop it.
//!
//! The guest is stopped once the rest can be sent within the downtime target. Stopping early for a short downtime is
//! better than at the first opportunity, so the target begins at a quarter and rises with the rounds ([`allowed`]).
//!
//! If a round leaves more than half of what it sent, two times in a row, the guest writes too fast for the connections.
//! It is then throttled by 20 percent, and by 10 more each time this happens again. The steps are those of QEMU's
//! `auto-converge` (its `docs/devel/migration/features`, `migration/ram.c`).

use std::time::Duration;

use super::settings::{AtLimit, Migration};

/// The round from which on the whole downtime target counts.
const RAMP: u32 = 6;
const FIRST_THROTTLE: u8 = 20;
const MORE_THROTTLE: u8 = 10;
/// Rounds shorter than this say nothing about the throughput.
const MEASURABLE: u64 = 1 << 20;

/// A round that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// Its number.
    pub(super) number: u32,
    /// The bytes sent.
    pub(super) sent: u64,
    /// The bytes of the pages that were written meanwhile, and have to be sent again.
    pub(super) dirty: u64,
    /// How long it took.
    pub(super) elapsed: Duration,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send another round.
    Continue,
    /// Throttle the vCPUs by so many percent, and send another round.
    Throttle(u8),
    /// Stop the guest and send the rest.
    Park,
    /// Give up.
    Abort,
}

/// What is known from the rounds so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Convergence {
    /// In bytes per second.
    throughput: Option<u64>,
    throttle: u8,
    /// How often in a row too much was left.
    behind: u8,
}

impl Convergence {
    /// The step after `round`, `elapsed` after the start.
    pub(super) fn next(&mut self, round: &Round, settings: &Migration, elapsed: Duration) -> Step {
        if self.throughput.is_none() || round.sent >= MEASURABLE {
            // A short round may profit from bandwidth that was not used before.
            let limit = settings.bandwidth.map(|rate| rate.bytes().saturating_mul(settings.connections.into()));
            self.throughput = Some(rate(round.sent, round.elapsed).min(limit.unwrap_or(u64::MAX)));
        }
        if self.expected_downtime(round.dirty).is_some_and(|expected| expected <= allowed(settings, round.number)) {
            return Step::Park;
        }
        if elapsed >= settings.time_limit {
            return match settings.at_limit {
                AtLimit::Abort => Step::Abort,
                AtLimit::Pause => Step::Park,
            };
        }
        self.behind = if round.dirty > round.sent / 2 { self.behind.saturating_add(1) } else { 0 };
        if self.behind < 2 || self.throttle >= settings.max_throttle {
            return Step::Continue;
        }
        self.behind = 0;
        let more = if self.throttle == 0 { FIRST_THROTTLE } else { self.throttle.saturating_add(MORE_THROTTLE) };
        self.throttle = more.min(settings.max_throttle);
        Step::Throttle(self.throttle)
    }

    /// How long sending `dirty` bytes takes; `None` if the throughput is not known.
    pub(super) fn expected_downtime(&self, dirty: u64) -> Option<Duration> {
        match (dirty, self.throughput) {
            (0, _) => Some(Duration::ZERO),
            (_, None | Some(0)) => None,
            (_, Some(throughput)) => Some(Duration::from_secs_f64(dirty as f64 / throughput as f64)),
        }
    }

    /// The measured throughput in bytes per second.
    pub(super) fn throughput(&self) -> u64 {
        self.throughput.unwrap_or(0)
    }
}

/// The downtime that is allowed after round `number`.
fn allowed(settings: &Migration, number: u32) -> Duration {
    let (from, to) = (settings.downtime / 4, settings.downtime);
    from + (to - from) / RAMP * number.min(RAMP)
}

/// Bytes per second.
pub(super) fn rate(bytes: u64, elapsed: Duration) -> u64 {
    (bytes as f64 / elapsed.as_secs_f64().max(1e-6)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ByteSize;

    const MIB: u64 = 1 << 20;

    fn settings() -> Migration {
        Migration::default().downtime(Duration::from_millis(400)).time_limit(Duration::from_secs(100), AtLimit::Abort)
    }

    fn round(number: u32, sent: u64, dirty: u64) -> Round {
        Round { number, sent, dirty, elapsed: Duration::from_secs_f64(sent as f64 / (100 * MIB) as f64) }
    }

    /// The steps for a guest that writes `rate` bytes per second at full speed, over a link of 100 MiB/s.
    fn simulate(memory: u64, rate: u64, settings: &Migration) -> (Vec<Step>, u64) {
        let (mut convergence, mut steps, mut throttle) = (Convergence::default(), Vec::new(), 0);
        let (mut sent, mut elapsed) = (memory, Duration::ZERO);
        for number in 0..1000 {
            let one = round(number, sent, 0);
            elapsed += one.elapsed;
            let written = one.elapsed.as_secs_f64() * rate as f64 * f64::from(100 - throttle) / 100.0;
            let dirty = (written as u64).min(memory);
            let step = convergence.next(&Round { dirty, ..one }, settings, elapsed);
            steps.push(step);
            match step {
                Step::Park | Step::Abort => return (steps, dirty),
                Step::Throttle(percent) => throttle = i32::from(percent),
                Step::Continue => {}
            }
            sent = dirty;
        }
        panic!("it does not end");
    }

    #[test]
    fn a_calm_guest_is_stopped_after_the_first_round() {
        assert_eq!(simulate(1024 * MIB, MIB / 2, &settings()).0, [Step::Park]);
        assert_eq!(simulate(1024 * MIB, 0, &settings()).0, [Step::Park]);
    }

    #[test]
    fn the_downtime_is_within_the_target_and_lower_while_rounds_are_few() {
        let (steps, rest) = simulate(1024 * MIB, 20 * MIB, &settings());
        assert_eq!(steps.last(), Some(&Step::Park));
        assert!(!steps.iter().any(|step| matches!(step, Step::Throttle(_))), "{steps:?}");
        assert!(rest <= 40 * MIB, "{rest}");
        let first = |dirty| Convergence::default().next(&round(0, 100 * MIB, dirty), &settings(), Duration::ZERO);
        assert_eq!((first(10 * MIB), first(11 * MIB)), (Step::Park, Step::Continue), "a quarter of the target");
        let sixth = |dirty| Convergence::default().next(&round(6, 100 * MIB, dirty), &settings(), Duration::ZERO);
        assert_eq!((sixth(40 * MIB), sixth(41 * MIB)), (Step::Park, Step::Continue));
    }

    #[test]
    fn a_guest_that_outruns_the_link_is_throttled_step_by_step_until_it_fits() {
        let patient = settings().time_limit(Duration::from_secs(1000), AtLimit::Abort);
        let (steps, rest) = simulate(1024 * MIB, 300 * MIB, &patient);
        let throttled: Vec<_> = steps.iter().filter(|step| matches!(step, Step::Throttle(_))).collect();
        assert_eq!(throttled[..3], [&Step::Throttle(20), &Step::Throttle(30), &Step::Throttle(40)]);
        assert_eq!(steps.last(), Some(&Step::Park));
        assert!(rest <= 40 * MIB);
    }

    #[test]
    fn the_time_limit_ends_what_does_not_converge() {
        let fixed = settings().max_throttle(0);
        let (steps, _) = simulate(1024 * MIB, 300 * MIB, &fixed);
        assert_eq!(steps.last(), Some(&Step::Abort));
        let (steps, rest) =
            simulate(1024 * MIB, 300 * MIB, &fixed.time_limit(Duration::from_secs(100), AtLimit::Pause));
        assert_eq!((steps.last(), rest), (Some(&Step::Park), 1024 * MIB));
    }

    #[test]
    fn the_throttle_stays_within_its_limit() {
        let (steps, _) = simulate(1024 * MIB, 100_000 * MIB, &settings().max_throttle(45));
        let most = steps.iter().filter_map(|step| if let Step::Throttle(by) = step { Some(*by) } else { None }).max();
        assert_eq!(most, Some(45));
    }

    #[test]
    fn the_throughput_is_not_more_than_the_bandwidth() {
        let limited = settings().connections(2).bandwidth(ByteSize::mib(100));
        let mut convergence = Convergence::default();
        let burst = Round { elapsed: Duration::from_millis(1), ..round(9, 2 * MIB, 100 * MIB) };
        assert_eq!(convergence.next(&burst, &limited, Duration::ZERO), Step::Continue);
        assert_eq!(convergence.expected_downtime(100 * MIB), Some(Duration::from_millis(500)));
    }

    #[test]
    fn a_short_round_does_not_distort_the_throughput() {
        let mut convergence = Convergence::default();
        convergence.next(&round(0, 100 * MIB, 90 * MIB), &settings(), Duration::ZERO);
        let slow = Round { number: 1, sent: 4096, dirty: 90 * MIB, elapsed: Duration::from_secs(1) };
        convergence.next(&slow, &settings(), Duration::ZERO);
        assert_eq!(convergence.throughput() / MIB, 100);
    }
}
