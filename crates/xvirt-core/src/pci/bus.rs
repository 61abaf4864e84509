//! Bus 0: its slots, and the two ways to their configuration space.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::access::{ConfigPorts, Ecam};
use super::bridge::HostBridge;
use super::slots::{PciFunction, Slots};
use crate::Result;
use crate::bus::BusDevice;

/// PCI bus 0.
#[derive(Debug)]
pub(crate) struct PciBus {
    slots: Arc<Slots>,
    ports: Arc<ConfigPorts>,
}

/// What the guest wrote to the bus itself; each function has its own state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PciBusState {
    /// The address register at port 0xcf8.
    pub(crate) config_address: u32,
}

impl PciBus {
    /// A bus with a host bridge and nothing else.
    pub(crate) fn new(state: Option<PciBusState>) -> Self {
        let slots = Arc::new(Slots::new(Arc::new(HostBridge::new())));
        let state = state.unwrap_or_default();
        Self { ports: Arc::new(ConfigPorts::new(slots.clone(), state.config_address)), slots }
    }

    /// Plugs `function` into `slot`.
    pub(crate) fn insert(&self, slot: usize, function: Arc<dyn PciFunction>) -> Result<()> {
        self.slots.insert(slot, function)
    }

    /// Unplugs what is in `slot`.
    pub(crate) fn remove(&self, slot: usize) -> Result<Arc<dyn PciFunction>> {
        self.slots.remove(slot)
    }

    /// The configuration space of all slots as memory (PCI Express 5.0, section 7.2.2): one MiB for bus 0.
    pub(crate) fn ecam(&self) -> Arc<dyn BusDevice> {
        Arc::new(Ecam::new(self.slots.clone()))
    }

    /// The eight ports from 0xcf8 on (PCI 3.0, section 3.2.2.3.2).
    pub(crate) fn ports(&self) -> Arc<dyn BusDevice> {
        self.ports.clone()
    }

    /// Takes the bus and every function on it back to power-on. The first failure is returned, after all were tried.
    pub(crate) fn reset(&self) -> Result<()> {
        self.ports.set_address(0);
        let mut functions = self.slots.functions();
        // A guest may have put one function where another was, which finds its place free once all others are back.
        functions.retain(|function| function.reset().is_err());
        functions.iter().map(|function| function.reset()).fold(Ok(()), Result::and)
    }

    /// What the guest wrote to the bus itself.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests save a machine so far"))]
    pub(crate) fn save(&self) -> PciBusState {
        PciBusState { config_address: self.ports.address() }
    }
}
