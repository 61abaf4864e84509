//! Power states and verbs, which are XenServer's, and the table of the states in which each verb is legal.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// The power state of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PowerState {
    /// Off, and not in memory.
    Halted,
    /// Running.
    Running,
    /// In memory, with its vCPUs stopped.
    Paused,
    /// Saved to disk, with its memory.
    Suspended,
}

/// An operation on a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum Verb {
    Start,
    CleanShutdown,
    HardShutdown,
    CleanReboot,
    HardReboot,
    Pause,
    Unpause,
    Suspend,
    Resume,
    Snapshot,
    Checkpoint,
    Export,
    Migrate,
    Seal,
    Clone,
    Copy,
    Plug,
    Unplug,
    ResizeDisk,
    SetLink,
    SetDiskLimit,
    SetNicLimit,
    SetCpuLimit,
    SetMemoryTarget,
    WaitMemoryTarget,
    ReadMemoryStatistics,
    ConnectVsock,
}

use PowerState::{Halted, Paused, Running, Suspended};

/// The states in which each verb is legal.
const LEGAL: [(Verb, &[PowerState]); 27] = [
    (Verb::Start, &[Halted]),
    (Verb::CleanShutdown, &[Running]),
    (Verb::HardShutdown, &[Running, Paused, Suspended]),
    (Verb::CleanReboot, &[Running]),
    (Verb::HardReboot, &[Running, Paused]),
    (Verb::Pause, &[Running]),
    (Verb::Unpause, &[Paused]),
    (Verb::Suspend, &[Running, Paused]),
    (Verb::Resume, &[Suspended]),
    (Verb::Snapshot, &[Halted, Running, Paused, Suspended]),
    (Verb::Checkpoint, &[Running, Paused, Suspended]),
    (Verb::Export, &[Halted, Running, Paused, Suspended]),
    (Verb::Migrate, &[Running]),
    (Verb::Seal, &[Halted]),
    (Verb::Clone, &[Halted]),
    (Verb::Copy, &[Halted]),
    (Verb::Plug, &[Halted, Running, Paused]),
    (Verb::Unplug, &[Halted, Running, Paused]),
    (Verb::ResizeDisk, &[Halted, Running, Paused]),
    (Verb::SetLink, &[Running, Paused]),
    (Verb::SetDiskLimit, &[Halted, Running, Paused, Suspended]),
    (Verb::SetNicLimit, &[Halted, Running, Paused, Suspended]),
    (Verb::SetCpuLimit, &[Halted, Running, Paused, Suspended]),
    (Verb::SetMemoryTarget, &[Running, Paused]),
    (Verb::WaitMemoryTarget, &[Running, Paused]),
    (Verb::ReadMemoryStatistics, &[Running, Paused]),
    (Verb::ConnectVsock, &[Running, Paused]),
];

impl Verb {
    /// All verbs.
    pub fn all() -> impl Iterator<Item = Self> {
        LEGAL.iter().map(|(verb, _)| *verb)
    }

    /// Whether it mostly waits for the guest, so that other verbs may run in between.
    pub(super) fn waits_for_guest(self) -> bool {
        matches!(
            self,
            Self::CleanShutdown
                | Self::CleanReboot
                | Self::Unplug
                | Self::WaitMemoryTarget
                | Self::ReadMemoryStatistics
                | Self::ConnectVsock
        )
    }

    /// Whether it is refused while it is unknown whether the VM runs at the target of a migration. `Unpause` is also the
    /// verb by which that is decided.
    pub(super) fn waits_for_decision(self) -> bool {
        !matches!(self, Self::HardShutdown | Self::Unpause)
    }

    /// The states in which it is legal.
    pub fn legal_states(self) -> &'static [PowerState] {
        LEGAL.iter().find(|(verb, _)| *verb == self).map_or(&[], |(_, states)| states)
    }

    /// Checks that it is legal for a VM called `name` in `state`.
    pub(super) fn check(self, name: &str, state: PowerState) -> Result<()> {
        if self.legal_states().contains(&state) {
            return Ok(());
        }
        let states: Vec<_> = self.legal_states().iter().map(PowerState::to_string).collect();
        Err(Error::new(ErrorKind::InvalidState, format!("cannot {self} VM '{name}' while it is {state}"))
            .with_remedy(format!("it must be {}", states.join(" or "))))
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::CleanShutdown => "cleanly shut down",
            Self::HardShutdown => "hard shut down",
            Self::CleanReboot => "cleanly reboot",
            Self::HardReboot => "hard reboot",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Snapshot => "snapshot",
            Self::Checkpoint => "checkpoint",
            Self::Export => "export",
            Self::Migrate => "migrate",
            Self::Seal => "seal",
            Self::Clone => "clone",
            Self::Copy => "copy",
            Self::Plug => "plug something into",
            Self::Unplug => "unplug something from",
            Self::ResizeDisk => "resize a disk of",
            Self::SetLink => "change the link of a NIC of",
            Self::SetDiskLimit => "limit a disk of",
            Self::SetNicLimit => "limit a NIC of",
            Self::SetCpuLimit => "limit the vCPUs of",
            Self::SetMemoryTarget => "set the memory target of",
            Self::WaitMemoryTarget => "wait for the memory target of",
            Self::ReadMemoryStatistics => "read the memory statistics of",
            Self::ConnectVsock => "connect to a vsock port of",
        })
    }
}

impl fmt::Display for PowerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Halted => "halted",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Suspended => "suspended",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_illegal_verb_names_state_and_remedy() {
        let error = Verb::Start.check("web-1", Running).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidState);
        assert_eq!(error.to_string(), "cannot start VM 'web-1' while it is running; it must be halted");
        let error = Verb::HardReboot.check("web-1", Halted).unwrap_err();
        assert_eq!(error.to_string(), "cannot hard reboot VM 'web-1' while it is halted; it must be running or paused");
    }

    #[test]
    fn each_verb_stands_once_in_the_table() {
        for (verb, states) in LEGAL {
            assert_eq!(LEGAL.iter().filter(|(other, _)| *other == verb).count(), 1, "{verb}");
            assert!(!states.is_empty(), "{verb}");
        }
    }
}
