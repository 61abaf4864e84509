//! Why and since when a VM is halted, and its last crash, for who has not listened.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::events::{CrashReason, Event};
use super::handle::Vm;

/// Why a VM is halted, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Halted {
    /// Why.
    pub cause: HaltCause,
    /// Since when, by the host's clock.
    pub since: SystemTime,
}

/// What halted a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HaltCause {
    /// Nothing: this handle has not started it yet.
    NotStarted,
    /// [`hard_shutdown`](Vm::hard_shutdown).
    HardShutdown,
    /// Its guest switched itself off.
    GuestShutdown,
    /// Its guest, or what it needs of the host, failed.
    Crashed(CrashReason),
}

/// A crash of a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Crash {
    /// What happened.
    pub reason: CrashReason,
    /// When, by the host's clock.
    pub time: SystemTime,
}

impl Halted {
    pub(super) fn now(cause: HaltCause) -> Self {
        Self { cause, since: SystemTime::now() }
    }
}

impl From<&Event> for HaltCause {
    /// What halted a VM with this event.
    fn from(event: &Event) -> Self {
        match event {
            Event::GuestShutdown => Self::GuestShutdown,
            Event::Crashed(reason) => Self::Crashed(reason.clone()),
            _ => Self::HardShutdown,
        }
    }
}

impl Vm {
    /// Why it is halted and since when; `None` unless it is halted. Does not wait for a verb.
    pub fn halted(&self) -> Option<Halted> {
        self.live().ok()?.halted.clone()
    }

    /// Its last crash, whatever became of it then; `None` if it has not crashed since it was built. Does not wait for a
    /// verb.
    pub fn last_crash(&self) -> Option<Crash> {
        self.live().ok()?.last_crash.clone()
    }
}
