//! A device behind its PCI registers.

use std::sync::Arc;

use vm_memory::GuestAddress;

use super::devices::{self, Endpoint, Kind};
use crate::device::{Device, reset_all};
use crate::memory::GuestRam;
use crate::pci::testing::TestHost;
use crate::pci::{PciBus, PciFunction};
use crate::virtio::{DeviceState, VirtioPci};

const BAR: u64 = 0xc000_0000;
const SLOT: usize = 1;
/// The offset of the slot in memory-mapped configuration space.
const FUNCTION: u64 = (SLOT as u64) << 15;

/// A PCI bus with one device.
#[derive(Debug)]
pub struct Function {
    kind: Kind,
    endpoint: Arc<Endpoint>,
    memory: GuestRam,
    host: Arc<TestHost>,
    bus: PciBus,
    pci: Arc<VirtioPci>,
}

impl Function {
    /// Builds a device in its power-on state.
    pub fn new(kind: Kind) -> Self {
        let memory = GuestRam::from_ranges(&[(GuestAddress(0), 0x1_0000)]).expect("there is memory");
        let (host, bus, endpoint) = (Arc::new(TestHost::new()), PciBus::new(None), Endpoint::new());
        let bus = bus.expect("nothing is restored");
        let device = devices::device(kind, &endpoint, None);
        let pci = VirtioPci::new(device, memory.clone(), host.clone(), BAR, None).expect("the host can do anything");
        bus.insert(SLOT, pci.clone()).expect("the slot is free");
        Self { kind, endpoint, memory, host, bus, pci }
    }

    /// Reads `data.len()` bytes of any function's registers.
    pub fn config_read(&self, offset: u64, data: &mut [u8]) {
        self.bus.ecam().read(offset, data);
    }

    /// Writes any function's registers.
    pub fn config_write(&self, offset: u64, data: &[u8]) {
        self.bus.ecam().write(offset, data);
    }

    /// Reads from one of the eight ports.
    pub fn port_read(&self, offset: u64, data: &mut [u8]) {
        self.bus.ports().read(offset, data);
    }

    /// Writes to one of the eight ports.
    pub fn port_write(&self, offset: u64, data: &[u8]) {
        self.bus.ports().write(offset, data);
    }

    /// The offset of the device's registers in configuration space.
    pub fn registers(&self) -> u64 {
        FUNCTION
    }

    /// The address of the device's BAR.
    pub fn bar(&self) -> u64 {
        let mut bar = [0; 8];
        self.config_read(FUNCTION + 0x10, &mut bar);
        u64::from_le_bytes(bar) & !0xf
    }

    /// Reads from an address.
    pub fn read(&self, address: u64, data: &mut [u8]) {
        self.host.mmio.read(address, data);
    }

    /// Writes to an address.
    pub fn write(&self, address: u64, data: &[u8]) {
        if !self.host.ring(address) {
            self.host.mmio.write(address, data);
        }
    }

    /// Announces a configuration change to the driver.
    pub fn config_changed(&self) {
        self.pci.config_changed();
    }

    /// Pauses and resumes the device.
    pub fn pause(&self) {
        self.pci.pause();
        self.pci.resume();
    }

    /// Reboots the machine.
    pub fn reset(&self) {
        // The reset cannot fail, because no other function occupies the power-on address.
        reset_all([&self.bus as &dyn Device, &*self.pci]).expect("the device goes back to where it was");
        assert_eq!(self.bar(), BAR);
    }

    /// Saves the device and restores it in another machine.
    pub fn move_on(&mut self) {
        self.pci.pause();
        let state = self.pci.save().expect("it is paused");
        let device: DeviceState = state.device.clone();
        drop(self.bus.remove(SLOT));
        self.pci.stop();
        self.host = Arc::new(TestHost::new());
        let device = devices::device(self.kind, &self.endpoint, Some(device));
        let (memory, host) = (self.memory.clone(), self.host.clone());
        self.pci = VirtioPci::new(device, memory, host, BAR, Some(&state)).expect("what was saved can be restored");
        assert_eq!(self.pci.save().expect("it is paused"), state);
        self.bus.insert(SLOT, self.pci.clone()).expect("the slot is free");
        self.pci.resume();
    }

    /// Checks invariants that no guest access may break.
    pub fn check(&self) {
        let mut identity = [0; 4];
        self.pci.config_read(0, &mut identity);
        assert_eq!(u16::from_le_bytes([identity[0], identity[1]]), 0x1af4);
    }
}
