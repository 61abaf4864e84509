//! Holds a VM stopped, to save it and to give its disks other images.

use std::sync::Arc;

use super::devices::DiskSlot;
use super::events::Event;
use super::handle::{Inner, Vm};
use super::operation::LongOperation;
use super::state::PowerState;
use crate::machine::Machine;
use crate::{Error, ErrorKind, Result};

/// A VM whose guest does not run, until this is dropped.
#[derive(Debug)]
pub(crate) struct Stopped<'a> {
    pub(super) vm: &'a Vm,
    /// `None` if the VM is in no machine.
    pub(super) machine: Option<Arc<Machine>>,
    pub(super) run_again: bool,
}

impl Vm {
    /// Stops the guest, if it runs, until the result is dropped.
    pub(crate) fn stop_guest(&self, _: &LongOperation<'_>) -> Result<Stopped<'_>> {
        self.inner.require_all_disks()?;
        let run_again = self.power_state() == PowerState::Running;
        let machine = self.inner.machine();
        if let Some(machine) = machine.as_ref().filter(|_| run_again) {
            machine.park()?;
        }
        self.inner.take_ejected();
        Ok(Stopped { vm: self, machine, run_again })
    }
}

impl Stopped<'_> {
    /// Whether the VM is in memory, with its disks open.
    pub(crate) fn in_memory(&self) -> bool {
        self.machine.is_some()
    }

    /// The positions of the disks, in the order of the configuration.
    pub(crate) fn positions(&self) -> Vec<usize> {
        self.vm.inner.live().devices.disks.keys().copied().collect()
    }

    /// Fails if an image cannot be closed, because somebody reads it as it was at an earlier point in time.
    pub(crate) fn require_closable(&self) -> Result<()> {
        self.vm.inner.require_closable()
    }
}

impl Stopped<'_> {
    /// The guest does not go on when this is dropped.
    pub(super) fn stay_stopped(&mut self) {
        self.run_again = false;
    }

    /// The VM is paused, also after this is dropped.
    pub(super) fn stay_paused(&mut self) {
        self.stay_stopped();
        self.vm.inner.enter(PowerState::Paused, &Event::Paused);
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        if let Some(machine) = self.machine.as_ref().filter(|_| self.run_again) {
            machine.run_again();
        }
    }
}

impl Inner {
    /// Fails if an image cannot be closed, because somebody reads it as it was at an earlier point in time.
    pub(super) fn require_closable(&self) -> Result<()> {
        if !self.live().devices.disks.values().filter_map(DiskSlot::backend).any(|disk| disk.has_views()) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Busy, format!("a disk of VM '{}' is being exported", self.config.name))
            .with_remedy("wait for the end of the export, or cancel it"))
    }
}
