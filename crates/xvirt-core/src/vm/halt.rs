//! Why and since when a VM is halted, and its last crash, for programs that do not listen to events.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::events::{CrashReason, Event};
use super::handle::Vm;

/// Why a VM is halted, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Halted {
    /// The cause.
    pub cause: HaltCause,
    /// The time, by the host's clock.
    pub since: SystemTime,
}

/// The cause of a halt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HaltCause {
    /// Nothing: this handle has not started it yet.
    NotStarted,
    /// [`hard_shutdown`](Vm::hard_shutdown).
    HardShutdown,
    /// It was migrated, and runs elsewhere.
    Migrated,
    /// The guest powered off.
    GuestShutdown,
    /// The guest crashed, or something it needs on the host failed.
    Crashed(CrashReason),
}

/// A crash of a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Crash {
    /// The reason.
    pub reason: CrashReason,
    /// The time, by the host's clock.
    pub time: SystemTime,
}

impl Halted {
    pub(super) fn now(cause: HaltCause) -> Self {
        Self { cause, since: SystemTime::now() }
    }
}

impl From<&Event> for HaltCause {
    /// The cause of the halt that `event` reports.
    fn from(event: &Event) -> Self {
        match event {
            Event::GuestShutdown => Self::GuestShutdown,
            Event::Migrated => Self::Migrated,
            Event::Crashed(reason) => Self::Crashed(reason.clone()),
            _ => Self::HardShutdown,
        }
    }
}

impl Vm {
    /// Why and since when it is halted; `None` unless it is halted. Does not wait for a verb.
    pub fn halted(&self) -> Option<Halted> {
        self.live().ok()?.halted.clone()
    }

    /// Its last crash, whatever action followed; `None` if it has not crashed since it was built. Does not wait for a
    /// verb.
    pub fn last_crash(&self) -> Option<Crash> {
        self.live().ok()?.last_crash.clone()
    }
}
