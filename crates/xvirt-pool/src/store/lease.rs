//! Leases, and when they end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::{Error, ErrorKind, Result};

/// The shortest lease. A store of several hosts cannot notice an end sooner.
pub const MIN_TTL: Duration = Duration::from_secs(2);

/// The longest lease: a day.
pub const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The name of a lease. It is never used twice within an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(u64);

impl LeaseId {
    /// The lease with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A lease that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// How long it lasts without being kept alive. A store may grant more than was asked for.
    pub ttl: Duration,
}

/// Checks the length of a new lease.
pub(crate) fn check_ttl(ttl: Duration) -> Result<()> {
    if (MIN_TTL..=MAX_TTL).contains(&ttl) {
        return Ok(());
    }
    let what = format!("cannot grant a lease of {ttl:?}");
    Err(Error::new(ErrorKind::InvalidInput, what).with_remedy(format!("ask for {MIN_TTL:?} to {MAX_TTL:?}")))
}

/// The error for a lease that has ended.
pub(crate) fn not_found(lease: LeaseId) -> Error {
    Error::new(ErrorKind::LeaseNotFound, format!("lease {lease} has ended, or never was"))
        .with_remedy("grant a new one, and put its pairs again")
}

/// When each lease ends. The time of a lease is in memory only: keeping it alive writes nothing.
#[derive(Debug, Default)]
pub(crate) struct Deadlines(BTreeMap<LeaseId, Held>);

#[derive(Clone, Copy, Debug)]
struct Held {
    ttl: Duration,
    until: Duration,
}

impl Deadlines {
    /// Adds a lease whose time begins now.
    pub(crate) fn begin(&mut self, lease: Lease, now: Duration) {
        self.0.insert(lease.id, Held { ttl: lease.ttl, until: now + lease.ttl });
    }

    /// Lets the time of a lease begin again. One whose time is over has ended, even if its pairs are still there.
    pub(crate) fn keep_alive(&mut self, lease: LeaseId, now: Duration) -> Result<Duration> {
        let held = self.0.get_mut(&lease).filter(|held| now < held.until).ok_or_else(|| not_found(lease))?;
        held.until = now + held.ttl;
        Ok(held.ttl)
    }

    /// Whether the lease exists and has not ended.
    pub(crate) fn is_held(&self, lease: LeaseId, now: Duration) -> bool {
        self.0.get(&lease).is_some_and(|held| now < held.until)
    }

    /// The leases whose time is over, in the order of their ends.
    pub(crate) fn due(&self, now: Duration) -> Vec<LeaseId> {
        let mut due: Vec<_> = self.0.iter().filter(|(_, held)| held.until <= now).collect();
        due.sort_by_key(|(id, held)| (held.until, **id));
        due.into_iter().map(|(id, _)| *id).collect()
    }

    /// When the next lease ends.
    pub(crate) fn next_end(&self) -> Option<Duration> {
        self.0.values().map(|held| held.until).min()
    }

    /// Forgets a lease.
    pub(crate) fn end(&mut self, lease: LeaseId) {
        self.0.remove(&lease);
    }

    /// Lets the time of all leases begin again, as after a restart.
    #[cfg(feature = "simulation")]
    pub(crate) fn restart(&mut self, now: Duration) {
        for held in self.0.values_mut() {
            held.until = now + held.ttl;
        }
    }
}
