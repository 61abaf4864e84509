//! The PCI slots of a machine: their devices, and hot plug while the guest runs.

use std::sync::Arc;

use super::Machine;
use super::hotplug::slots_of;
use crate::arch::x86_64::layout;
use crate::device::Device;
use crate::pci::{PciFunction, PciHost};
use crate::sync::lock;
use crate::virtio::{BAR_SIZE, VirtioDevice, VirtioPci, VirtioPciState};
use crate::{Error, ErrorKind, Result};

/// Slot 0 holds the host bridge.
const LAST: usize = 31;

impl Machine {
    /// The highest free slot, for [`add`](Self::add).
    pub(crate) fn free_slot(&self) -> Result<usize> {
        (1..=LAST).rev().find(|slot| !self.has_function(*slot)).ok_or_else(|| {
            Error::new(ErrorKind::InvalidConfig, "the VM has no free PCI slot")
                .with_remedy("give the VM fewer disks and NICs")
        })
    }

    /// Whether there is a virtio device in `slot`.
    pub(crate) fn has_function(&self, slot: usize) -> bool {
        lock(&self.functions).contains_key(&slot)
    }

    /// Puts a device that stays as long as the machine into `slot`. Only before the guest runs, because the ACPI tables
    /// list the slots for hot-plugged devices.
    pub(crate) fn add(
        &mut self,
        slot: usize,
        device: Arc<dyn VirtioDevice>,
        state: Option<&VirtioPciState>,
    ) -> Result<Arc<VirtioPci>> {
        let function = VirtioPci::new(device, self.ram.clone(), self.host(), bar(slot), state)?;
        self.place(slot, &function)?;
        self.fixed |= 1 << slot;
        Ok(function)
    }

    /// Puts a device that can be unplugged into `slot`. Only before the guest runs.
    pub(crate) fn insert(
        &self,
        slot: usize,
        device: Arc<dyn VirtioDevice>,
        state: Option<&VirtioPciState>,
    ) -> Result<Arc<VirtioPci>> {
        let function = VirtioPci::new(device, self.ram.clone(), self.host(), bar(slot), state)?;
        self.place(slot, &function)?;
        self.platform.hotplug.host().allow(slot);
        Ok(function)
    }

    /// Plugs a device into `slot` while the guest runs, and notifies the guest.
    pub(crate) fn plug(&self, slot: usize, device: Arc<dyn VirtioDevice>) -> Result<Arc<VirtioPci>> {
        let function = VirtioPci::new_plugged(device, self.ram.clone(), self.host(), bar(slot))?;
        self.place(slot, &function)?;
        self.platform.hotplug.host().allow(slot);
        self.platform.hotplug.inserted(slot);
        Ok(function)
    }

    /// Takes the device out of a slot of a parked machine, and returns its state. [`insert`](Self::insert) puts a device
    /// with that state in again, and the guest notices nothing.
    pub(crate) fn take_out(&self, slot: usize) -> Result<VirtioPciState> {
        let function = lock(&self.functions).get(&slot).cloned().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("there is no device in PCI slot {slot}"))
                .with_remedy("see the lists of disks and network interfaces for those that the VM has")
        })?;
        let state = function.save()?;
        self.platform.pci.remove(slot)?;
        lock(&self.functions).remove(&slot);
        function.stop();
        Ok(state)
    }

    /// Removes the device from `slot`, even if the guest uses it, and releases its host resources.
    pub(crate) fn unplug(&self, slot: usize) {
        self.platform.hotplug.host().forbid(slot);
        self.platform.hotplug.forget(slot);
        // Fails if the guest has ejected the device already.
        let _ = self.platform.pci.remove(slot);
        let function = lock(&self.functions).remove(&slot);
        if let Some(function) = function {
            function.stop();
        }
    }

    /// Removes the devices that the guest has ejected since the last call, and returns their slots.
    pub(crate) fn take_ejected(&self) -> Vec<usize> {
        let slots: Vec<_> = slots_of(self.platform.hotplug.host().take_ejected()).collect();
        slots.iter().for_each(|slot| self.unplug(*slot));
        slots
    }

    /// Asks the guest to eject the device in `slot`.
    pub(crate) fn request_removal(&self, slot: usize) {
        self.platform.hotplug.request_removal(slot);
    }

    /// Notifies the guest again of requests that it has not read.
    pub(crate) fn remind(&self) {
        self.platform.hotplug.remind();
    }

    /// Withdraws the eject request for `slot` if the guest has not read it.
    pub(crate) fn withdraw_request(&self, slot: usize) {
        self.platform.hotplug.withdraw_request(slot);
    }

    fn host(&self) -> Arc<dyn PciHost> {
        Arc::clone(&self.host) as _
    }

    fn place(&self, slot: usize, function: &Arc<VirtioPci>) -> Result<()> {
        if self.signals.are_held() {
            function.pause();
        }
        self.platform.pci.insert(slot, Arc::clone(function) as Arc<dyn PciFunction>)?;
        lock(&self.functions).insert(slot, Arc::clone(function));
        Ok(())
    }
}

/// The power-on address of the BAR of the device in `slot`.
fn bar(slot: usize) -> u64 {
    layout::PCI_MEMORY + slot as u64 * BAR_SIZE
}
