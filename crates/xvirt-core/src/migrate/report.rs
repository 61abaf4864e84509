//! What a migration reports, and how it is steered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::settings::Migration;

/// Observes a migration, and may cancel it or change its settings. Several threads may call it, and the migration waits
/// for it.
///
/// `()` only lets it run; an [`AtomicBool`] cancels it once it is true.
pub trait MigrationObserver: Sync {
    /// Reports a new phase or round, and the state of a round about ten times per second.
    fn report(&self, report: &MigrationReport);

    /// Whether to cancel. This counts until the commit, also while a target waits for a source: the call then fails with
    /// an error of the kind `Cancelled`, and the guest runs on at the source.
    fn cancelled(&self) -> bool;

    /// New settings of the source, which is asked for after each report. How memory is moved, the number of
    /// connections and the silence limit cannot change.
    fn settings(&self) -> Option<Migration>;
}

impl MigrationObserver for () {
    fn report(&self, _: &MigrationReport) {}

    fn cancelled(&self) -> bool {
        false
    }

    fn settings(&self) -> Option<Migration> {
        None
    }
}

impl MigrationObserver for AtomicBool {
    fn report(&self, _: &MigrationReport) {}

    fn cancelled(&self) -> bool {
        self.load(Ordering::Relaxed)
    }

    fn settings(&self) -> Option<Migration> {
        None
    }
}

/// The phase of a migration. The [module](super) describes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MigrationPhase {
    /// Source: the guest runs, and its memory is copied.
    #[default]
    Running,
    /// Source: the guest is stopped; the last pages are sent.
    Parked,
    /// Source: the disks are closed and unlocked; the target opens them.
    Released,
    /// Source: the decision about the commit is made.
    Deciding,
    /// Source: the commit is sent.
    Committing,
    /// Source: the migration has failed, and the disks are opened again.
    Reclaiming,
    /// Target: memory arrives.
    Receiving,
    /// Target: the disks are open and the state is loaded.
    Prepared,
    /// Target: the connection broke before the commit; the decision is read.
    Asking,
}

/// The state of a migration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct MigrationReport {
    /// The phase.
    pub phase: MigrationPhase,
    /// The number of the round, from 0, in which all pages are sent.
    pub round: u32,
    /// The bytes of all pages that were sent, or received at the target.
    pub bytes: u64,
    /// The pages that were all zeroes, of which only the numbers are sent.
    pub zero_pages: u64,
    /// The bytes of the pages that had to be sent at the beginning of the round.
    pub round_bytes: u64,
    /// How fast the guest wrote in the last round, in bytes per second. 0 at the target.
    pub dirty_rate: u64,
    /// How fast the last round was sent, in bytes per second. 0 at the target.
    pub throughput: u64,
    /// How long sending the rest would take with the guest stopped.
    pub expected_downtime: Option<Duration>,
    /// The share of time for which the vCPUs are held, in percent.
    pub throttle: u8,
    /// How long the migration has lasted.
    pub elapsed: Duration,
    /// How long until its time limit.
    pub time_left: Duration,
}

/// How long the guest was stopped, and why. The parts follow one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Downtime {
    /// Stopping the vCPUs and completing the requests of devices.
    pub drain: Duration,
    /// Sending the last pages.
    pub last_round: Duration,
    /// Closing the disks and collecting the state.
    pub state: Duration,
    /// Sending the state and its answer, and the decision about the commit.
    pub send: Duration,
    /// Opening the disks and loading the state at the target.
    pub load: Duration,
    /// From the commit until the guest ran.
    pub resume: Duration,
}

impl Downtime {
    /// All parts together.
    pub fn total(&self) -> Duration {
        self.drain + self.last_round + self.state + self.send + self.load + self.resume
    }
}

/// What a successful migration did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct MigrationSummary {
    /// The last report.
    pub report: MigrationReport,
    /// How long the guest was stopped.
    pub downtime: Downtime,
}
