//! The state of a VM according to its events, and the events that may come next.

use std::collections::{BTreeMap, BTreeSet};

use xvirt_core::config::CrashAction;
use xvirt_core::vm::{CrashReason, Event, PowerState};

use crate::program::Program;

/// The parts of a configuration that the model needs.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub program: Program,
    pub on_crash: CrashAction,
    pub on_watchdog: CrashAction,
}

/// A VM as its events describe it.
#[derive(Clone, Debug)]
pub struct Model {
    pub state: PowerState,
    /// What must follow a crash before the power state changes otherwise.
    crashed: Option<CrashAction>,
    /// The size of the disk at each position.
    pub disks: BTreeMap<usize, u64>,
    pub nics: BTreeSet<usize>,
}

impl Model {
    pub fn new(disks: usize, size: u64) -> Self {
        let disks = (0..disks).map(|position| (position, size)).collect();
        Self { state: PowerState::Halted, crashed: None, disks, nics: BTreeSet::new() }
    }

    /// Whether a crash was reported, but not yet the action that follows it.
    pub fn is_between(&self) -> bool {
        self.crashed.is_some()
    }

    /// Applies an event; the error says why it is not allowed now. `plugged` is the size of disks that are plugged in.
    pub fn follow(&mut self, event: &Event, rules: &Rules, plugged: u64) -> Result<(), String> {
        match event {
            Event::DiskPlugged { disk } => free(self.disks.insert(*disk, plugged).is_none(), "disk", *disk),
            Event::NicPlugged { nic } => free(self.nics.insert(*nic), "NIC", *nic),
            Event::DiskUnplugged { disk } => there(self.disks.remove(disk).is_some(), "disk", *disk),
            Event::NicUnplugged { nic } => there(self.nics.remove(nic), "NIC", *nic),
            Event::DiskResized { disk, size } => there(self.disks.insert(*disk, *size).is_some(), "disk", *disk),
            Event::NicDisconnected { nic } | Event::NicConnected { nic } => there(self.nics.contains(nic), "NIC", *nic),
            Event::IoError { .. } | Event::DeviceFailed { .. } if rules.program == Program::Hostile => Ok(()),
            Event::IoError { .. } | Event::DeviceFailed { .. } => Err("no device of this VM fails".into()),
            Event::Missed(_) => Err("the receiver was read often enough".into()),
            _ => self.power(event, rules),
        }
    }

    fn power(&mut self, event: &Event, rules: &Rules) -> Result<(), String> {
        use PowerState::{Halted, Paused, Running};

        if let Some(action) = self.crashed.take() {
            return match (action, event) {
                (CrashAction::Restart, Event::Restarted) => Ok(()),
                (CrashAction::Preserve, Event::Paused) => {
                    self.state = Paused;
                    Ok(())
                }
                (_, Event::Crashed(reason)) if is_of_supervisor(reason) => {
                    self.state = Halted;
                    Ok(())
                }
                _ => Err(format!("the VM has crashed, and its configuration says {action:?}")),
            };
        }
        let (from, to): (&[PowerState], PowerState) = match event {
            Event::Started => (&[Halted], Running),
            Event::Paused => (&[Running], Paused),
            Event::Unpaused => (&[Paused], Running),
            Event::HardShutdown => (&[Running, Paused], Halted),
            Event::HardReset => (&[Running, Paused], Running),
            Event::GuestShutdown => (&[Running], Halted),
            Event::GuestReset => (&[Running], Running),
            Event::GuestPanicked { .. } => (&[Running], Running),
            Event::Crashed(reason) if is_of_supervisor(reason) => (&[Running, Paused], Halted),
            Event::Crashed(reason) => (&[Running], self.crash(reason, rules)?),
            _ => return Err("it is not known, or comes without a crash".into()),
        };
        if !from.contains(&self.state) {
            return Err(format!("the VM is {}", self.state));
        }
        self.state = to;
        Ok(())
    }

    /// The state after a crash.
    fn crash(&mut self, reason: &CrashReason, rules: &Rules) -> Result<PowerState, String> {
        if !rules.program.may_crash(reason) {
            return Err(format!("{:?} does not crash so", rules.program));
        }
        let action = if *reason == CrashReason::Watchdog { rules.on_watchdog } else { rules.on_crash };
        if action == CrashAction::Halt {
            return Ok(PowerState::Halted);
        }
        self.crashed = Some(action);
        Ok(PowerState::Running)
    }
}

/// Whether the supervisor has panicked: then the VM is halted, whatever is configured.
fn is_of_supervisor(reason: &CrashReason) -> bool {
    matches!(reason, CrashReason::ThreadPanicked { thread, .. } if thread == "vm-supervisor")
}

fn free(was: bool, what: &str, position: usize) -> Result<(), String> {
    if was { Ok(()) } else { Err(format!("there was a {what} at position {position} already")) }
}

fn there(was: bool, what: &str, position: usize) -> Result<(), String> {
    if was { Ok(()) } else { Err(format!("there was no {what} at position {position}")) }
}
