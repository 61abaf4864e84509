//! Freezing the guest's file systems, and thawing them in any case.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tracing::Span;

use super::channel::deadline;
use super::handle::GuestAgent;
use super::message::{NoArguments, not_understood};
use crate::sync::lock;
use crate::thread::{self, Panicked};
use crate::{Error, ErrorKind, Result};

const STACK_SIZE: usize = 256 << 10;
/// A thaw that fails is tried again after so long, and then after twice as long each time up to the longest.
const TRY_AGAIN: Duration = Duration::from_secs(1);
const TRY_AGAIN_MAX: Duration = Duration::from_secs(30);

/// The file systems of a guest, frozen: nothing is written to them until they are thawed, by [`thaw`](Self::thaw), by
/// dropping this, or when the time limit is over. Dropping waits for the agent at most as long as its
/// [time limit](GuestAgent::timeout); a thaw that fails is tried again on a thread as long as the VM is there and runs.
#[derive(Debug)]
pub struct FrozenFileSystems {
    freeze: Arc<Freeze>,
    count: usize,
}

/// The freezes of a VM that are not over.
#[derive(Debug, Default)]
pub(super) struct Freezes(Mutex<Vec<Weak<Freeze>>>);

#[derive(Debug)]
struct Freeze {
    agent: GuestAgent,
    phase: Mutex<Phase>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The agent was asked, or is about to be.
    Freezing,
    /// Until the time limit is over.
    Frozen,
    /// To be thawed at once.
    Due,
    /// Thawed, or there is nothing to thaw any more.
    Over,
}

impl GuestAgent {
    /// Writes what the guest caches to its disks and freezes all its local file systems, so that a copy of the disks made
    /// meanwhile is consistent. With [`Vm::snapshot_views`](crate::vm::Vm::snapshot_views), which takes a moment, they need
    /// not be frozen longer than that.
    ///
    /// The file systems are thawed after `limit` at the latest, counted from the call, by a thread of this process: also while
    /// the caller is stuck, but not while the VM is paused. If this whole process is stopped, so is the guest; if it
    /// ends, so does the guest, and nothing is frozen at its next boot. While they are frozen, programs in the guest that
    /// write are stopped, and the agent refuses all calls but [`ping`](Self::ping), [`info`](Self::info) and thawing.
    ///
    /// A `Timeout` may leave them frozen for a moment: they are thawed as soon as the agent answers.
    ///
    /// # Errors
    /// [`AgentRefused`](ErrorKind::AgentRefused) also if they are frozen already, and those of [all calls](Self#errors).
    pub fn freeze_file_systems(&self, limit: Duration) -> Result<FrozenFileSystems> {
        let (agent, changed) = (self.clone(), Condvar::new());
        let freeze = Arc::new(Freeze { agent, phase: Mutex::new(Phase::Freezing), changed });
        let (watched, ends) = (Arc::clone(&freeze), deadline(limit));
        let panicked = |panic: Panicked| tracing::error!(?panic, "the thread that thaws file systems has panicked");
        // First, so that nothing is frozen that nobody would thaw.
        thread::spawn("agent-thaw", STACK_SIZE, Span::current(), move || watched.watch(ends), panicked)
            .map_err(|e| Error::io("cannot start the thread that thaws file systems", e))?;
        self.channel.freezes.add(&freeze);
        let mut frozen = FrozenFileSystems { freeze, count: 0 };
        let call = "guest-fsfreeze-freeze";
        let count = self.call::<_, i64>(call, NoArguments {}).and_then(|count| self.counted(call, count));
        frozen.freeze.enter(match &count {
            Ok(_) => Phase::Frozen,
            Err(error) if matches!(error.kind(), ErrorKind::AgentRefused | ErrorKind::AgentAbsent) => Phase::Over,
            // It is not known whether they are frozen.
            Err(_) => Phase::Due,
        });
        frozen.count = count?;
        Ok(frozen)
    }

    fn thaw(&self) -> Result<usize> {
        let call = "guest-fsfreeze-thaw";
        self.call::<_, i64>(call, NoArguments {}).and_then(|count| self.counted(call, count))
    }

    fn counted(&self, call: &str, count: i64) -> Result<usize> {
        usize::try_from(count).map_err(|_| {
            self.channel.failed(call, not_understood(format_args!("{count} is not a number of file systems")))
        })
    }
}

impl FrozenFileSystems {
    /// How many file systems are frozen.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Thaws them, and answers how many there were. Fewer than [`count`](Self::count) means that somebody else, or the time
    /// limit, has thawed some before: a copy made meanwhile may not be consistent.
    ///
    /// # Errors
    /// Those of [all calls](GuestAgent#errors). Then it is tried again on a thread.
    pub fn thaw(self) -> Result<usize> {
        self.freeze.thaw()
    }
}

impl Drop for FrozenFileSystems {
    fn drop(&mut self) {
        let phase = *lock(&self.freeze.phase);
        if matches!(phase, Phase::Freezing | Phase::Frozen)
            && let Err(error) = self.freeze.thaw()
        {
            tracing::warn!(%error, "file systems in the guest could not be thawed yet");
        }
    }
}

impl Freezes {
    fn add(&self, freeze: &Arc<Freeze>) {
        let mut all = lock(&self.0);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(freeze));
    }

    /// The VM is gone, and with it everything that was frozen.
    pub(super) fn end(&self) {
        lock(&self.0).iter().filter_map(Weak::upgrade).for_each(|freeze| freeze.enter(Phase::Over));
    }
}

impl Freeze {
    /// Thaws; a thaw that fails is due from now on.
    fn thaw(&self) -> Result<usize> {
        let thawed = self.agent.thaw();
        self.enter(if thawed.is_ok() { Phase::Over } else { Phase::Due });
        thawed
    }

    fn enter(&self, phase: Phase) {
        let mut current = lock(&self.phase);
        if *current != Phase::Over {
            *current = phase;
        }
        self.changed.notify_all();
    }

    /// Thaws when that is due, at `ends` at the latest, and again until it has succeeded or the guest has ended.
    fn watch(&self, ends: Option<Instant>) {
        // The call has a time limit of its own.
        self.wait(None, |phase| phase == Phase::Freezing);
        self.wait(ends, |phase| phase == Phase::Frozen);
        let mut pause = TRY_AGAIN;
        while *lock(&self.phase) != Phase::Over {
            match self.thaw() {
                Ok(count) => tracing::warn!(count, "thawed file systems of a guest when their time was over"),
                Err(error) if matches!(error.kind(), ErrorKind::Gone | ErrorKind::InvalidState) => {
                    self.enter(Phase::Over);
                }
                Err(error) => {
                    tracing::warn!(%error, "file systems in the guest could not be thawed yet");
                    self.wait(deadline(pause), |phase| phase == Phase::Due);
                    pause = (2 * pause).min(TRY_AGAIN_MAX);
                }
            }
        }
    }

    /// Waits while the phase is as asked, until `until` at the latest.
    fn wait(&self, until: Option<Instant>, asked: impl Fn(Phase) -> bool) {
        let mut phase = lock(&self.phase);
        while asked(*phase) {
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return;
            }
            phase = self.changed.wait_timeout(phase, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
