//! The time of leases.

use std::fmt::Debug;
#[cfg(feature = "simulation")]
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A clock that never goes back.
pub trait Clock: Debug + Send + Sync {
    /// The time since a moment that stays the same as long as the clock exists.
    fn now(&self) -> Duration;
}

/// The host's monotonic clock, which nobody can set.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A clock that stands still until it is moved, so that tests need not wait.
#[cfg(feature = "simulation")]
#[derive(Debug, Default)]
pub struct ManualClock(Mutex<Duration>);

#[cfg(feature = "simulation")]
impl ManualClock {
    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        *crate::sync::lock(&self.0) += by;
    }
}

#[cfg(feature = "simulation")]
impl Clock for ManualClock {
    fn now(&self) -> Duration {
        *crate::sync::lock(&self.0)
    }
}
