//! Freezes the guest's file systems, and ensures that they are thawed.

use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

use tracing::Span;

use super::channel::{Call, MAX_ANSWER, deadline};
use super::handle::{GuestAgent, STACK_SIZE};
use super::message::{NoArguments, not_understood};
use crate::sync::lock;
use crate::thread::{self, Panicked};
use crate::wait::Wait;
use crate::{Error, ErrorKind, Result};

const FREEZE: &str = "guest-fsfreeze-freeze";
const THAW: &str = "guest-fsfreeze-thaw";
/// How long after a failed thaw the next is tried. This doubles with each failure up to the maximum.
const TRY_AGAIN: Duration = Duration::from_secs(1);
const TRY_AGAIN_MAX: Duration = Duration::from_secs(30);

/// The frozen file systems of a guest: nothing is written to them until they are thawed, by [`thaw`](Self::thaw), by
/// dropping this, or at the time limit. Dropping this waits for the agent at most for its [time
/// limit](GuestAgent::timeout); a failed thaw is retried on a thread as long as the VM exists and runs.
#[derive(Debug)]
pub struct FrozenFileSystems {
    freeze: Arc<Freeze>,
    count: usize,
}

/// The freezes of a VM that are not thawed yet.
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
    /// The agent was not asked yet: nothing is frozen.
    Waiting,
    /// The agent was asked to freeze, or is about to be.
    Freezing,
    /// Frozen until the time limit.
    Frozen,
    /// To be thawed immediately.
    Due,
    /// Thawed, or nothing is left to thaw.
    Over,
}

impl GuestAgent {
    /// Flushes the guest's caches to its disks and freezes all its local file systems, so that a copy of the disks made
    /// meanwhile is consistent. They need to stay frozen only for a call of
    /// [`Vm::snapshot_views`](crate::vm::Vm::snapshot_views), which returns quickly.
    ///
    /// The file systems are thawed after `limit` at the latest, counted from the call, by a thread of this process:
    /// even while the caller is stuck, but not while the VM is paused. If this whole process is stopped, so is the
    /// guest; if it ends, so does the guest, and nothing is frozen at its next boot. Meanwhile, programs in the guest
    /// that write are blocked, and the agent rejects all calls but [`ping`](Self::ping), [`info`](Self::info) and
    /// thawing.
    ///
    /// After an error other than `AgentRefused`, they may be frozen for a moment: they are thawed as soon as the agent
    /// answers.
    ///
    /// # Errors
    /// [`AgentRefused`](ErrorKind::AgentRefused) also if they are already frozen, and those of [all
    /// calls](Self#errors), also if the file systems of an earlier call have to be thawed first and cannot be.
    pub fn freeze_file_systems(&self, limit: Duration) -> Result<FrozenFileSystems> {
        let (time, ends) = (self.deadline(), deadline(limit));
        self.thaw_due(time)?;
        let (agent, changed) = (self.clone(), Condvar::new());
        let freeze = Arc::new(Freeze { agent, phase: Mutex::new(Phase::Waiting), changed });
        let watched = Arc::clone(&freeze);
        let panicked = |panic: Panicked| tracing::error!(?panic, "the thread that thaws file systems has panicked");
        // The thread is started first, so that nothing is frozen that would not be thawed.
        thread::spawn("agent-thaw", STACK_SIZE, Span::current(), move || watched.watch(ends), panicked)
            .map_err(|e| Error::io("cannot start the thread that thaws file systems", e))?;
        self.channel.freezes.add(&freeze);
        let mut frozen = FrozenFileSystems { freeze, count: 0 };
        let call = Call { command: FREEZE, limit: MAX_ANSWER, deadline: time };
        let asked = || frozen.freeze.enter(Phase::Freezing);
        let count = self.channel.call_noting(call, NoArguments {}, asked).and_then(|count| self.counted(FREEZE, count));
        match &count {
            Ok(_) => frozen.freeze.enter(Phase::Frozen),
            Err(error) => frozen.freeze.fail(error),
        }
        frozen.count = count?;
        Ok(frozen)
    }

    /// Thaws the file systems of earlier calls whose thaw is due. Each of those calls has a thread until its thaw
    /// succeeds: without this, the number of threads would grow with every call while the agent does not answer.
    fn thaw_due(&self, deadline: Option<Instant>) -> Result<()> {
        let due = self.channel.freezes.due();
        if !due.is_empty() {
            self.thaw(deadline)?;
            due.iter().for_each(|freeze| freeze.enter(Phase::Over));
        }
        Ok(())
    }

    fn thaw(&self, deadline: Option<Instant>) -> Result<usize> {
        self.call_until::<_, i64>(THAW, NoArguments {}, deadline).and_then(|count| self.counted(THAW, count))
    }

    fn counted(&self, call: &str, count: i64) -> Result<usize> {
        usize::try_from(count).map_err(|_| {
            self.channel.failed(call, not_understood(format_args!("{count} is not a number of file systems")))
        })
    }
}

impl FrozenFileSystems {
    /// The number of frozen file systems.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Thaws them, and returns how many were thawed. Fewer than [`count`](Self::count) means that another program or
    /// the time limit has thawed some before: a copy made meanwhile may be inconsistent.
    ///
    /// # Errors
    /// Those of [all calls](GuestAgent#errors). The thaw is then retried on a thread.
    pub fn thaw(self) -> Result<usize> {
        self.freeze.thaw()
    }
}

impl Drop for FrozenFileSystems {
    fn drop(&mut self) {
        let phase = *lock(&self.freeze.phase);
        match phase {
            Phase::Waiting => self.freeze.enter(Phase::Over),
            Phase::Freezing | Phase::Frozen => {
                if let Err(error) = self.freeze.thaw() {
                    tracing::warn!(%error, "file systems in the guest could not be thawed yet");
                }
            }
            Phase::Due | Phase::Over => {}
        }
    }
}

impl Freezes {
    fn add(&self, freeze: &Arc<Freeze>) {
        let mut all = lock(&self.0);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(freeze));
    }

    /// Those whose thaw is due.
    fn due(&self) -> Vec<Arc<Freeze>> {
        let all = lock(&self.0);
        all.iter().filter_map(Weak::upgrade).filter(|freeze| *lock(&freeze.phase) == Phase::Due).collect()
    }

    /// Ends all freezes, because the VM is gone and all its frozen file systems with it.
    pub(super) fn end(&self) {
        lock(&self.0).iter().filter_map(Weak::upgrade).for_each(|freeze| freeze.enter(Phase::Over));
    }
}

impl Freeze {
    /// Thaws; after a failure, a thaw is due.
    fn thaw(&self) -> Result<usize> {
        let thawed = self.agent.thaw(self.agent.deadline());
        self.enter(if thawed.is_ok() { Phase::Over } else { Phase::Due });
        thawed
    }

    /// The call to freeze has failed with `error`.
    fn fail(&self, error: &Error) {
        let asked = *lock(&self.phase) != Phase::Waiting;
        // They may be frozen, unless the agent refused. An agent that ends does not thaw them.
        let unknown = asked && error.kind() != ErrorKind::AgentRefused;
        self.enter(if unknown { Phase::Due } else { Phase::Over });
    }

    fn enter(&self, phase: Phase) {
        let mut current = lock(&self.phase);
        if *current != Phase::Over {
            *current = phase;
        }
        self.changed.notify_all();
    }

    /// Thaws when that is due, at `ends` at the latest, and retries until it succeeds or the guest has ended.
    fn watch(&self, ends: Option<Instant>) {
        // The call to freeze has its own time limit.
        self.wait(None, |phase| matches!(phase, Phase::Waiting | Phase::Freezing));
        self.wait(ends, |phase| phase == Phase::Frozen);
        let mut pause = TRY_AGAIN;
        while *lock(&self.phase) != Phase::Over {
            match self.thaw() {
                Ok(count) => tracing::warn!(count, "thawed file systems of a guest at their time limit"),
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

    /// Waits while `asked` holds for the phase, until `until` at the latest.
    fn wait(&self, until: Option<Instant>, asked: impl Fn(Phase) -> bool) {
        let done = |phase: &Phase| !asked(*phase);
        let _ = Wait::until(until).until_done(&self.changed, &self.phase, lock(&self.phase), done);
    }
}
