//! How a VM is moved.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::ByteSize;
use crate::{Error, ErrorKind, Result};

/// The most connections of one migration.
pub(super) const MAX_CONNECTIONS: u8 = 16;
/// The longest time that a silent peer can be waited for.
const MAX_SILENCE: Duration = Duration::from_secs(7 * 24 * 3600);
/// The most that vCPUs can be throttled, in percent.
const MAX_THROTTLE: u8 = 99;

/// The settings of a migration at its source.
///
/// ```
/// use std::time::Duration;
/// use xvirt_core::migrate::{AtLimit, Migration};
///
/// let settings = Migration::default()
///     .connections(4)
///     .downtime(Duration::from_millis(100))
///     .time_limit(Duration::from_secs(600), AtLimit::Pause);
/// # let _ = settings;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Migration {
    /// How the target gets the guest's memory; by default it is copied. Cannot be changed on the way.
    pub memory: MemoryTransfer,
    /// How many connections memory is sent over, from 1 to 16; 1 by default. Cannot be changed on the way.
    pub connections: u8,
    /// The most that each connection sends, in bytes per second; without it there is no limit.
    pub bandwidth: Option<ByteSize>,
    /// How long the guest may be stopped while the last pages are sent, 300 ms by default. Earlier rounds aim lower, see
    /// `docs/migration.md`.
    pub downtime: Duration,
    /// The most that the vCPUs are throttled if the guest writes faster than the connections send: the share of time
    /// for which they are held, in percent, from 0 to 99; 99 by default.
    pub max_throttle: u8,
    /// How long the migration may take; an hour by default.
    pub time_limit: Duration,
    /// What happens then; by default it fails.
    pub at_limit: AtLimit,
    /// How long the target may be silent, or take no data, before it is given up; 30 s by default. It has to be able to open the disks
    /// and load the state in this time.
    pub silence_limit: Duration,
    /// How long to ask the [`CommitDecision`](super::CommitDecision) while it answers `Unknown`; a minute by default.
    pub decision_limit: Duration,
}

/// How the target of a migration gets the guest's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MemoryTransfer {
    /// It is copied over the connections while the guest runs.
    #[default]
    Copy,
    /// A local hand-over: nothing is copied, but the target gets the descriptors of the files that hold the memory, and
    /// maps them. This moves a VM to another process of the same host, such as the next version of the program, and stops
    /// its guest for a few milliseconds whatever the size of its memory.
    ///
    /// It needs memory in a file ([`VmConfig::shared_memory`](crate::config::VmConfig::shared_memory), huge pages, or a
    /// sealed [`VmConfig::memory_file`](crate::config::VmConfig::memory_file)), and one connection, which is a unix
    /// socket. Both processes can write to the memory from then on, so they must trust each other.
    LocalHandOver,
}

/// What a migration does when its time is over and its guest still writes too fast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AtLimit {
    /// It fails, and the guest runs on at the source.
    #[default]
    Abort,
    /// It stops the guest after the current round and sends the rest, however long that takes.
    Pause,
}

impl Default for Migration {
    fn default() -> Self {
        Self {
            memory: MemoryTransfer::Copy,
            connections: 1,
            bandwidth: None,
            downtime: Duration::from_millis(300),
            max_throttle: MAX_THROTTLE,
            time_limit: Duration::from_secs(3600),
            at_limit: AtLimit::Abort,
            silence_limit: Duration::from_secs(30),
            decision_limit: Duration::from_secs(60),
        }
    }
}

impl Migration {
    /// Sets how the target gets the guest's memory.
    #[must_use]
    pub fn memory(mut self, transfer: MemoryTransfer) -> Self {
        self.memory = transfer;
        self
    }

    /// Sets the number of connections.
    #[must_use]
    pub fn connections(mut self, count: u8) -> Self {
        self.connections = count;
        self
    }

    /// Limits each connection to `rate` bytes per second.
    #[must_use]
    pub fn bandwidth(mut self, rate: ByteSize) -> Self {
        self.bandwidth = Some(rate);
        self
    }

    /// Sets how long the guest may be stopped.
    #[must_use]
    pub fn downtime(mut self, target: Duration) -> Self {
        self.downtime = target;
        self
    }

    /// Sets the most that the vCPUs are throttled, in percent.
    #[must_use]
    pub fn max_throttle(mut self, percent: u8) -> Self {
        self.max_throttle = percent;
        self
    }

    /// Sets how long the migration may take, and what happens then.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration, then: AtLimit) -> Self {
        (self.time_limit, self.at_limit) = (limit, then);
        self
    }

    /// Sets how long the target may be silent.
    #[must_use]
    pub fn silence_limit(mut self, limit: Duration) -> Self {
        self.silence_limit = limit;
        self
    }

    /// Sets how long to ask for the decision.
    #[must_use]
    pub fn decision_limit(mut self, limit: Duration) -> Self {
        self.decision_limit = limit;
        self
    }

    /// Checks the values.
    pub(super) fn check(&self) -> Result<()> {
        let (connections, throttle) = (self.connections, self.max_throttle);
        let (what, remedy) = if !(1..=MAX_CONNECTIONS).contains(&connections) {
            (format!("a migration cannot have {connections} connections"), "choose 1 to 16")
        } else if self.memory == MemoryTransfer::LocalHandOver && connections > 1 {
            (
                format!("a local hand-over is not possible with {connections} connections"),
                "choose 1, which sends no memory",
            )
        } else if self.bandwidth.is_some_and(|rate| rate.bytes() == 0) {
            ("a bandwidth of 0 would stop the migration for ever".to_owned(), "choose at least 1 byte per second")
        } else if throttle > MAX_THROTTLE {
            (format!("vCPUs cannot be throttled by {throttle} percent"), "choose 0 to 99")
        } else {
            return check_silence(self.silence_limit);
        };
        Err(Error::new(ErrorKind::InvalidConfig, what).with_remedy(remedy))
    }
}

fn check_silence(limit: Duration) -> Result<()> {
    if !limit.is_zero() && limit <= MAX_SILENCE {
        return Ok(());
    }
    let what = format!("a silence limit of {limit:?} would end every migration, or none");
    Err(Error::new(ErrorKind::InvalidConfig, what).with_remedy("choose some seconds, and a week at most"))
}

/// The settings of a migration at its target. None of them limits how long it waits for a source to connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Reception {
    /// How long the source may be silent before it is given up; 30 s by default. It has to be able to stop the guest and to flush and
    /// close its disks in this time.
    pub silence_limit: Duration,
    /// How long the migration may take, from the first connection of its source until the target is prepared; four hours
    /// by default.
    pub time_limit: Duration,
    /// How long to ask the [`CommitDecision`](super::CommitDecision) while it answers `Unknown`; a minute by default.
    pub decision_limit: Duration,
}

impl Default for Reception {
    fn default() -> Self {
        Self {
            silence_limit: Duration::from_secs(30),
            time_limit: Duration::from_secs(4 * 3600),
            decision_limit: Duration::from_secs(60),
        }
    }
}

impl Reception {
    /// Checks the values.
    pub(super) fn check(&self) -> Result<()> {
        check_silence(self.silence_limit)
    }

    /// Sets how long the source may be silent.
    #[must_use]
    pub fn silence_limit(mut self, limit: Duration) -> Self {
        self.silence_limit = limit;
        self
    }

    /// Sets how long the migration may take.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Sets how long to ask for the decision.
    #[must_use]
    pub fn decision_limit(mut self, limit: Duration) -> Self {
        self.decision_limit = limit;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_settings_are_refused_by_name() {
        let good = Migration::default();
        assert!(good.check().is_ok());
        for (settings, named) in [
            (good.clone().connections(0), "0 connections"),
            (good.clone().connections(17), "17 connections"),
            (good.clone().memory(MemoryTransfer::LocalHandOver).connections(2), "with 2 connections"),
            (good.clone().bandwidth(ByteSize::new(0)), "bandwidth of 0"),
            (good.clone().max_throttle(100), "100 percent"),
            (good.clone().silence_limit(Duration::ZERO), "silence limit of 0ns"),
            (good.silence_limit(Duration::MAX), "silence limit of 18446744073709551615"),
        ] {
            let error = settings.check().unwrap_err();
            assert!(error.kind() == ErrorKind::InvalidConfig && error.message().contains(named), "{error}");
        }
    }
}
