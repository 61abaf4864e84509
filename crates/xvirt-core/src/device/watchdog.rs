//! A watchdog timer: once the guest has started it, it expires unless the guest pings it in time.
//!
//! Source: Microsoft, "Watchdog Action Table (WDAT) Hardware Watchdog Timer Specification" 1.1. The table describes the
//! registers to the guest, so xvirt is free to define them, and one guest driver serves every machine with the table.
//! Debian's kernel for virtual machines has this driver, but none for the watchdogs that other VMMs emulate (i6300ESB,
//! iTCO, iB700). The kernels of other distributions and Windows have it as well.
//!
//! The timer stands still while the machine is paused.

use std::fmt;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use vmm_sys_util::timerfd::TimerFd;

use super::{Device, not_paused};
use crate::bus::BusDevice;
use crate::sync::lock;
use crate::{Error, Result};

/// The countdown that a ping restarts, in periods: two bytes.
pub(crate) const COUNT: u64 = 0;
/// The periods that are left until it expires: two bytes.
pub(crate) const LEFT: u64 = 2;
/// Writing 1 starts the watchdog, 0 stops it; reading tells whether it runs.
pub(crate) const CONTROL: u64 = 4;
/// Any write is a ping.
pub(crate) const PING: u64 = 5;
/// 1 if the watchdog expired before the last start of the machine; writing 1 clears it.
pub(crate) const STATUS: u64 = 6;
/// The number of ports.
pub(crate) const PORTS: u64 = 8;

/// The unit of the countdown.
pub(crate) const PERIOD: Duration = Duration::from_millis(100);
/// 30 seconds.
const DEFAULT_COUNT: u16 = 300;

/// The registers a guest sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WatchdogState {
    count: u16,
    /// The time until it expires, if it runs; while the machine is not paused, the value at the last update.
    left: Option<Duration>,
    expired: bool,
}

impl Default for WatchdogState {
    fn default() -> Self {
        Self { count: DEFAULT_COUNT, left: None, expired: false }
    }
}

/// A watchdog timer. A new one is paused.
pub(crate) struct Watchdog {
    inner: Mutex<Inner>,
    timer: RawFd,
}

struct Inner {
    state: WatchdogState,
    paused: bool,
    /// The moment at which it expires, unless it is paused or stopped.
    deadline: Option<Instant>,
    timer: TimerFd,
}

impl fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchdog").field("state", &self.lock().state).finish_non_exhaustive()
    }
}

impl Watchdog {
    pub(crate) fn new(state: Option<WatchdogState>) -> Result<Self> {
        let timer = TimerFd::new().map_err(|e| Error::io("cannot create the timer of a watchdog", e.into()))?;
        let descriptor = timer.as_raw_fd();
        let mut state = state.unwrap_or_default();
        // Only a corrupt state has a countdown of zero, or a time left that overflows the host's clock.
        state.count = state.count.max(1);
        state.left = state.left.map(|left| left.min(PERIOD * u32::from(u16::MAX)));
        let inner = Inner { state, paused: true, deadline: None, timer };
        Ok(Self { inner: Mutex::new(inner), timer: descriptor })
    }

    /// Becomes readable when it is time to call [`expire`](Self::expire); open as long as this watchdog.
    pub(crate) fn event(&self) -> RawFd {
        self.timer
    }

    /// Whether the watchdog has expired; if so, this stops it.
    pub(crate) fn expire(&self) -> bool {
        let mut inner = self.lock();
        let late = inner.deadline.is_some_and(|deadline| deadline <= Instant::now());
        if late {
            inner.state.expired = true;
            inner.count_from(None);
        } else {
            // The guest pinged it in time; this sets the timer again.
            let left = inner.left();
            inner.count_from(left);
        }
        late
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

impl Device for Watchdog {
    type State = WatchdogState;

    fn name(&self) -> &'static str {
        "watchdog"
    }

    /// Stops the time.
    fn pause(&self) {
        let mut inner = self.lock();
        let left = inner.left();
        inner.paused = true;
        inner.count_from(left);
    }

    /// Continues the time.
    fn resume(&self) {
        let mut inner = self.lock();
        inner.paused = false;
        let left = inner.left();
        inner.count_from(left);
    }

    /// The expired flag survives a reset, because the guest reads it after the reset.
    fn reset(&self) -> Result<()> {
        let mut inner = self.lock();
        inner.state = WatchdogState { expired: inner.state.expired, ..WatchdogState::default() };
        inner.count_from(None);
        Ok(())
    }

    fn save(&self) -> Result<WatchdogState> {
        let inner = self.lock();
        if inner.paused { Ok(inner.state.clone()) } else { Err(not_paused()) }
    }
}

impl Inner {
    fn left(&self) -> Option<Duration> {
        match self.deadline {
            Some(deadline) => Some(deadline.saturating_duration_since(Instant::now())),
            None => self.state.left,
        }
    }

    /// Counts down from `left`, or stops if it is `None`.
    fn count_from(&mut self, left: Option<Duration>) {
        self.state.left = left;
        self.deadline = None;
        let set = match left.filter(|_| !self.paused) {
            Some(left) => {
                self.deadline = Instant::now().checked_add(left);
                // A zero would disarm the timer.
                self.timer.reset(left.max(Duration::from_nanos(1)), None)
            }
            None => self.timer.clear(),
        };
        if let Err(error) = set {
            tracing::error!(%error, "the timer of a watchdog cannot be set");
        }
    }

    fn all_of_it(&self) -> Duration {
        PERIOD * u32::from(self.state.count)
    }

    fn registers(&self) -> [u8; PORTS as usize] {
        let left = self.left().unwrap_or_default().as_millis() / PERIOD.as_millis();
        let [count_low, count_high] = self.state.count.to_le_bytes();
        let [left_low, left_high] = u16::try_from(left).unwrap_or(u16::MAX).to_le_bytes();
        let (runs, expired) = (u8::from(self.state.left.is_some()), u8::from(self.state.expired));
        [count_low, count_high, left_low, left_high, runs, 0, expired, 0]
    }
}

impl BusDevice for Watchdog {
    fn read(&self, offset: u64, data: &mut [u8]) {
        let registers = self.lock().registers();
        for (byte, offset) in data.iter_mut().zip(offset as usize..) {
            *byte = registers.get(offset).copied().unwrap_or(0);
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let mut inner = self.lock();
        let all = Some(inner.all_of_it());
        match (offset, data) {
            // Takes effect at the next ping or start.
            (COUNT, [low, high]) => inner.state.count = u16::from_le_bytes([*low, *high]).max(1),
            (CONTROL, [0]) => inner.count_from(None),
            (CONTROL, [1]) => inner.count_from(all),
            (PING, [_]) if inner.state.left.is_some() => inner.count_from(all),
            (STATUS, [1]) => inner.state.expired = false,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use xvirt_testing::random::Random;

    use super::*;
    use crate::device::testing::{RoundTrip, go_round};

    fn running(count: u16) -> Watchdog {
        let watchdog = Watchdog::new(None).unwrap();
        watchdog.resume();
        watchdog.write(COUNT, &count.to_le_bytes());
        watchdog.write(CONTROL, &[1]);
        watchdog
    }

    fn read(watchdog: &Watchdog, offset: u64) -> u16 {
        let mut data = [0; 2];
        watchdog.read(offset, &mut data);
        u16::from_le_bytes(data)
    }

    /// Whether its event comes within so many milliseconds.
    fn event_within(watchdog: &Watchdog, milliseconds: i32) -> bool {
        let mut poll = libc::pollfd { fd: watchdog.event(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd.
        unsafe { libc::poll(&raw mut poll, 1, milliseconds) == 1 }
    }

    #[test]
    fn it_expires_once_without_pings_and_remembers_it() {
        let watchdog = running(1);
        assert!(!watchdog.expire());
        assert!(event_within(&watchdog, 60_000));
        assert!(watchdog.expire());
        assert!(!watchdog.expire() && !event_within(&watchdog, 0));
        watchdog.reset().unwrap();
        assert_eq!((read(&watchdog, CONTROL), read(&watchdog, STATUS)), (0, 1));
        watchdog.write(STATUS, &[1]);
        assert_eq!(read(&watchdog, STATUS), 0);
    }

    #[test]
    fn a_ping_gives_all_of_the_time_again() {
        let watchdog = running(600);
        watchdog.lock().count_from(Some(Duration::from_secs(1)));
        assert!(read(&watchdog, LEFT) <= 10);
        watchdog.write(PING, &[0]);
        assert!(read(&watchdog, LEFT) > 500);
        assert_eq!(read(&watchdog, COUNT), 600);
    }

    #[test]
    fn a_ping_after_the_timer_ran_out_is_in_time_if_it_has_not_expired() {
        let watchdog = running(1);
        assert!(event_within(&watchdog, 60_000));
        watchdog.write(COUNT, &600_u16.to_le_bytes());
        watchdog.write(PING, &[0]);
        assert!(!watchdog.expire() && !event_within(&watchdog, 0));
    }

    #[test]
    fn time_stands_still_while_paused() {
        let watchdog = running(2);
        watchdog.pause();
        let left = watchdog.lock().state.left.unwrap();
        assert!(left > Duration::ZERO && left <= 2 * PERIOD);
        assert!(!event_within(&watchdog, 2 * PERIOD.as_millis() as i32 + 50));
        assert_eq!((watchdog.expire(), watchdog.lock().left()), (false, Some(left)));
        watchdog.resume();
        assert!(event_within(&watchdog, 60_000) && watchdog.expire());
    }

    #[test]
    fn it_does_not_run_until_started_and_stops_when_told() {
        let watchdog = Watchdog::new(None).unwrap();
        watchdog.resume();
        watchdog.write(COUNT, &[1, 0]);
        for offset in 0..PORTS {
            // Neither odd lengths nor odd values start it.
            watchdog.write(offset, &[]);
            watchdog.write(offset, &[0xff]);
            watchdog.write(offset, &[1, 1, 1, 1]);
        }
        assert_eq!(read(&watchdog, CONTROL), 0);
        watchdog.write(CONTROL, &[1]);
        watchdog.write(CONTROL, &[0]);
        assert!(!event_within(&watchdog, PERIOD.as_millis() as i32 + 50));
        assert!(!watchdog.expire());
    }

    #[test]
    fn it_moves_with_the_time_that_is_left() {
        let watchdog = running(600);
        watchdog.pause();
        let text = serde_json::to_string(&watchdog.save().unwrap()).unwrap();
        let moved = Watchdog::new(Some(serde_json::from_str(&text).unwrap())).unwrap();
        assert_eq!(moved.save().unwrap(), watchdog.save().unwrap());
        moved.resume();
        assert!(read(&moved, LEFT) > 500 && !moved.expire());
    }

    impl RoundTrip for WatchdogState {
        fn round_trip() {
            let new = |state| Watchdog::new(state).unwrap();
            let expire = |watchdog: &Watchdog, random: &mut Random| {
                if random.below(16) == 0 {
                    watchdog.lock().state.expired = true;
                }
            };
            let at_power_on = WatchdogState::default();
            go_round(PORTS, 0..PORTS, new, expire, |state| WatchdogState {
                expired: state.expired,
                ..at_power_on.clone()
            });
        }
    }

    #[test]
    fn it_is_saved_only_while_time_stands_still() {
        let watchdog = running(600);
        assert_eq!(watchdog.save().unwrap_err().to_string(), "it is not paused; park the machine first");
        watchdog.pause();
        assert!(watchdog.save().is_ok());
    }

    #[test]
    fn an_invalid_state_becomes_that_of_a_watchdog() {
        let state = WatchdogState { count: 0, left: Some(Duration::MAX), expired: false };
        let watchdog = Watchdog::new(Some(state)).unwrap();
        watchdog.resume();
        assert!(!watchdog.expire() && watchdog.lock().deadline.is_some());
        assert_eq!((read(&watchdog, COUNT), read(&watchdog, CONTROL)), (1, 1));
    }
}
