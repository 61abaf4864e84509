//! The settings in force, what was done so far, and the observer of both.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::report::{MigrationObserver, MigrationPhase, MigrationReport};
use super::settings::{AtLimit, Migration};
use crate::progress::interrupted;
use crate::sync::{Mutex, lock};
use crate::{Error, ErrorKind, Result};

/// How often a round is reported.
const INTERVAL: Duration = Duration::from_millis(100);

/// Joins a migration with its observer.
pub(super) struct Steering<'a> {
    observer: &'a dyn MigrationObserver,
    started: Instant,
    /// Bytes of pages and zero pages, which several threads count.
    bytes: AtomicU64,
    zero_pages: AtomicU64,
    state: Mutex<State>,
    /// Whether the observer is asked for new settings.
    changeable: bool,
}

struct State {
    settings: Migration,
    report: MigrationReport,
    reported: Instant,
}

impl<'a> Steering<'a> {
    pub(super) fn new(settings: Migration, observer: &'a dyn MigrationObserver) -> Self {
        let (started, report) = (Instant::now(), MigrationReport::default());
        let state = Mutex::new(State { settings, report, reported: started });
        Self { observer, started, bytes: AtomicU64::new(0), zero_pages: AtomicU64::new(0), state, changeable: true }
    }

    /// Settings that the observer does not change: those of the target.
    pub(super) fn fixed(settings: Migration, observer: &'a dyn MigrationObserver) -> Self {
        Self { changeable: false, ..Self::new(settings, observer) }
    }

    /// The settings in force.
    pub(super) fn settings(&self) -> Migration {
        lock(&self.state).settings.clone()
    }

    /// How long the migration has lasted.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Fails if the migration was cancelled or has lasted too long.
    pub(super) fn check(&self) -> Result<()> {
        if self.observer.cancelled() || interrupted() {
            return Err(Error::new(ErrorKind::Cancelled, "the migration was cancelled"));
        }
        let (limit, then) = {
            let state = lock(&self.state);
            (state.settings.time_limit, state.settings.at_limit)
        };
        if then == AtLimit::Abort && self.elapsed() > limit { Err(out_of_time(limit)) } else { Ok(()) }
    }

    /// Counts pages that were moved.
    pub(super) fn count(&self, bytes: u64, zero_pages: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.zero_pages.fetch_add(zero_pages, Ordering::Relaxed);
    }

    /// The bytes of all pages that were moved.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Begins a phase.
    pub(super) fn enter(&self, phase: MigrationPhase) {
        tracing::debug!(?phase, "migration");
        self.report(|report| report.phase = phase);
    }

    /// Changes the report and passes it on.
    pub(super) fn report(&self, change: impl FnOnce(&mut MigrationReport)) {
        let report = {
            let mut state = lock(&self.state);
            change(&mut state.report);
            state.report.elapsed = self.elapsed();
            state.report.time_left = state.settings.time_limit.saturating_sub(state.report.elapsed);
            state.report.bytes = self.bytes();
            state.report.zero_pages = self.zero_pages.load(Ordering::Relaxed);
            state.reported = Instant::now();
            state.report
        };
        // Without the lock, because observers may call other parts of xvirt.
        self.observer.report(&report);
        let Some(new) = self.observer.settings().filter(|_| self.changeable) else { return };
        match new.check() {
            Ok(()) => {
                let settings = &mut lock(&self.state).settings;
                let Migration { memory, connections, silence_limit, .. } = *settings;
                *settings = Migration { memory, connections, silence_limit, ..new };
            }
            Err(error) => tracing::warn!(%error, "new settings of the migration are ignored"),
        }
    }

    /// Reports the state of the round, if the last report is old enough.
    pub(super) fn tick(&self) {
        if lock(&self.state).reported.elapsed() >= INTERVAL {
            self.report(|_| ());
        }
    }

    /// The last report.
    pub(super) fn last(&self) -> MigrationReport {
        lock(&self.state).report
    }
}

/// The error for a migration that takes too long.
pub(super) fn out_of_time(limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("the migration took longer than its limit of {limit:?}"))
        .with_remedy("allow more time, more throttling or a longer downtime")
}
