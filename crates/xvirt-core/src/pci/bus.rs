//! Bus 0: its slots, and the two access methods for their configuration space.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::access::{ConfigPorts, Ecam};
use super::bridge::HostBridge;
use super::config::ConfigState;
use super::slots::{PciFunction, Slots};
use crate::Result;
use crate::bus::BusDevice;
use crate::device::Device;

/// PCI bus 0.
#[derive(Debug)]
pub(crate) struct PciBus {
    slots: Arc<Slots>,
    ports: Arc<ConfigPorts>,
    bridge: Arc<HostBridge>,
}

/// The state of the bus itself and its host bridge; each other function has its own state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PciBusState {
    /// The address register at port 0xcf8.
    pub(crate) config_address: u32,
    /// The registers of the host bridge.
    pub(crate) bridge: ConfigState,
}

impl PciBus {
    /// A bus with only a host bridge.
    ///
    /// # Errors
    /// `state` belongs to another host bridge.
    pub(crate) fn new(state: Option<PciBusState>) -> Result<Self> {
        let state = state.as_ref();
        let bridge = Arc::new(HostBridge::new(state.map(|s| &s.bridge))?);
        let slots = Arc::new(Slots::new(bridge.clone()));
        let ports = Arc::new(ConfigPorts::new(slots.clone(), state.map_or(0, |s| s.config_address)));
        Ok(Self { slots, ports, bridge })
    }

    /// Inserts `function` into `slot`.
    pub(crate) fn insert(&self, slot: usize, function: Arc<dyn PciFunction>) -> Result<()> {
        self.slots.insert(slot, function)
    }

    /// Removes the function in `slot`.
    pub(crate) fn remove(&self, slot: usize) -> Result<Arc<dyn PciFunction>> {
        self.slots.remove(slot)
    }

    /// The memory-mapped configuration space of all slots (PCI Express 5.0, section 7.2.2): one MiB for bus 0.
    pub(crate) fn ecam(&self) -> Arc<dyn BusDevice> {
        Arc::new(Ecam::new(self.slots.clone()))
    }

    /// The eight ports from 0xcf8 (PCI 3.0, section 3.2.2.3.2).
    pub(crate) fn ports(&self) -> Arc<dyn BusDevice> {
        self.ports.clone()
    }
}

/// The bus and its host bridge. Other functions are devices of their own.
impl Device for PciBus {
    type State = PciBusState;

    fn name(&self) -> &'static str {
        "PCI bus"
    }

    /// The bus is passive.
    fn pause(&self) {}

    fn resume(&self) {}

    fn reset(&self) -> Result<()> {
        self.ports.set_address(0);
        self.bridge.reset();
        Ok(())
    }

    fn save(&self) -> Result<PciBusState> {
        Ok(PciBusState { config_address: self.ports.address(), bridge: self.bridge.save() })
    }
}

#[cfg(test)]
mod tests {
    use xvirt_testing::random::Random;

    use super::*;
    use crate::device::testing::{RoundTrip, go_round};

    impl BusDevice for PciBus {
        fn read(&self, offset: u64, data: &mut [u8]) {
            self.ports.read(offset, data);
        }

        fn write(&self, offset: u64, data: &[u8]) {
            self.ports.write(offset, data);
        }
    }

    impl RoundTrip for PciBusState {
        fn round_trip() {
            // Writes a register of the host bridge.
            let stir = |bus: &PciBus, random: &mut Random| {
                let register = 0x8000_0000 + random.below(64) as u32 * 4;
                bus.write(0, &register.to_le_bytes());
                bus.write(4, &(random.number() as u32).to_le_bytes());
            };
            let at_power_on = PciBus::new(None).unwrap().save().unwrap();
            go_round(8, 0..8, |state| PciBus::new(state).unwrap(), stir, |_| at_power_on.clone());
        }
    }
}
