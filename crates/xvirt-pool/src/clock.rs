//! The clocks of a host.

use std::fmt::Debug;
use std::io;
#[cfg(feature = "simulation")]
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// The clocks of a host: one that people read and that may be set, and one that nobody can set.
pub trait HostClock: Debug + Send + Sync {
    /// Seconds since 1970, by the clock that people read. Nothing is decided by it.
    fn unix(&self) -> i64;

    /// A name of this run of the host, other after each start of it.
    ///
    /// # Errors
    /// The operating system does not tell it.
    fn boot(&self) -> io::Result<String>;

    /// The time since the host was started, with the time that it slept. It is the same for all services of this host
    /// until it is started again.
    fn since_boot(&self) -> Duration;
}

/// The clocks of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemHostClock;

impl HostClock for SystemHostClock {
    fn boot(&self) -> io::Result<String> {
        // random(4).
        Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
    }

    fn unix(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }

    fn since_boot(&self) -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    }
}

/// Clocks that stand still until they are moved, for tests.
#[cfg(feature = "simulation")]
#[derive(Debug, Default)]
pub struct ManualHostClock(Mutex<Now>);

#[cfg(feature = "simulation")]
#[derive(Debug, Default)]
struct Now {
    unix: i64,
    since_boot: Duration,
    boots: u64,
}

#[cfg(feature = "simulation")]
impl ManualHostClock {
    /// Sets the clock that people read.
    pub fn set_unix(&self, seconds: i64) {
        crate::sync::lock(&self.0).unix = seconds;
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let mut now = crate::sync::lock(&self.0);
        now.unix = now.unix.saturating_add_unsigned(by.as_secs());
        now.since_boot += by;
    }

    /// Starts the host again.
    pub fn restart(&self) {
        let mut now = crate::sync::lock(&self.0);
        now.boots += 1;
        now.since_boot = Duration::ZERO;
    }
}

#[cfg(feature = "simulation")]
impl HostClock for ManualHostClock {
    fn boot(&self) -> io::Result<String> {
        Ok(crate::sync::lock(&self.0).boots.to_string())
    }

    fn unix(&self) -> i64 {
        crate::sync::lock(&self.0).unix
    }

    fn since_boot(&self) -> Duration {
        crate::sync::lock(&self.0).since_boot
    }
}
