//! The saved states of virtio devices, when a VM is built from saved state.

use crate::disk::{BlockBackend, CopyBeforeWrite};
use crate::machine::{DeviceStates, Machine};
use crate::net::MacAddress;
use crate::virtio::{BalloonState, BlockState, ConsoleState, DeviceState, NetState, VirtioPciState};
use crate::{Error, ErrorKind, Result};

/// The saved states of all devices; `None` for a VM that starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct SavedDevices<'a> {
    pub(super) states: Option<&'a DeviceStates>,
    /// Whether they are of another VM, of which this one is a copy.
    pub(super) of_another: bool,
}

impl<'a> SavedDevices<'a> {
    /// The state of the device in a PCI slot.
    pub(super) fn at(self, slot: usize) -> Result<Option<&'a VirtioPciState>> {
        self.states.map(|states| states.function(slot)).transpose()
    }

    /// The state of the disk at a position, in a PCI slot, with its data in `backend`.
    ///
    /// # Errors
    /// `InvalidConfig`: the disk has another size than when it was saved.
    pub(super) fn block(self, position: usize, slot: usize, backend: &CopyBeforeWrite) -> Result<Option<BlockState>> {
        let Some(saved) = self.at(slot)? else { return Ok(None) };
        let DeviceState::Block(state) = &saved.device else { return Err(other_device(slot, "a disk")) };
        let (before, now) = (state.sectors.saturating_mul(512), backend.capacity());
        if before != now {
            let what = format!("disk {position} had {before} bytes when the VM was saved, and has {now} now");
            return Err(Error::new(ErrorKind::InvalidConfig, what)
                .with_remedy("give the VM the disk that it was saved with, as it was then"));
        }
        Ok(Some(state.clone()))
    }

    /// The state of the network interface in a PCI slot, which has the address `mac` in a copy.
    pub(super) fn net(self, slot: usize, mac: MacAddress) -> Result<Option<NetState>> {
        let Some(saved) = self.at(slot)? else { return Ok(None) };
        match &saved.device {
            DeviceState::Net(state) if self.of_another => Ok(Some(state.clone().copied_as(mac.octets()))),
            DeviceState::Net(state) => Ok(Some(state.clone())),
            _ => Err(other_device(slot, "a network interface")),
        }
    }

    /// The state of the console in a PCI slot.
    pub(super) fn console(self, slot: usize) -> Result<Option<ConsoleState>> {
        let Some(saved) = self.at(slot)? else { return Ok(None) };
        match &saved.device {
            DeviceState::Console(state) => Ok(Some(state.clone())),
            _ => Err(other_device(slot, "a console")),
        }
    }

    /// The state of the memory balloon in a PCI slot.
    pub(super) fn balloon(self, slot: usize) -> Result<Option<BalloonState>> {
        let Some(saved) = self.at(slot)? else { return Ok(None) };
        match &saved.device {
            DeviceState::Balloon(state) => Ok(Some(*state)),
            _ => Err(other_device(slot, "a memory balloon")),
        }
    }

    /// Checks that `machine` has every saved device.
    pub(super) fn require_all_used(self, machine: &Machine) -> Result<()> {
        let Some(states) = self.states else { return Ok(()) };
        match states.functions().find(|(slot, _)| !machine.has_function(*slot)) {
            None => Ok(()),
            Some((slot, _)) => {
                let what = format!("the VM had a device in PCI slot {slot} when it was saved, and has none there now");
                Err(Error::new(ErrorKind::InvalidConfig, what)
                    .with_remedy("give the VM the configuration that it was saved with"))
            }
        }
    }
}

fn other_device(slot: usize, expected: &str) -> Error {
    let what = format!("the VM has {expected} in PCI slot {slot}, where another device was when it was saved");
    Error::new(ErrorKind::InvalidConfig, what).with_remedy("give the VM the configuration that it was saved with")
}
