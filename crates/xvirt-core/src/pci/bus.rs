//! The slots of bus 0.

use std::fmt;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::access::{ConfigPorts, Ecam};
use super::bridge::HostBridge;
use crate::bus::BusDevice;
use crate::sync::lock;
use crate::{Error, ErrorKind, Result};

/// Slots of a PCI bus; the host bridge has the first.
const SLOTS: usize = 32;

/// A function (always function 0 of its slot).
pub(crate) trait PciFunction: Send + Sync + fmt::Debug {
    /// Reads configuration registers; what is not there reads as ones.
    fn config_read(&self, offset: u16, data: &mut [u8]);

    /// Writes configuration registers.
    fn config_write(&self, offset: u16, data: &[u8]);

    /// Goes back to how it was at power-on, base addresses included.
    fn reset(&self) -> Result<()>;
}

/// PCI bus 0.
#[derive(Debug)]
pub(crate) struct PciBus {
    slots: Arc<Slots>,
    ports: Arc<ConfigPorts>,
}

#[derive(Debug)]
pub(super) struct Slots(Mutex<[Option<Arc<dyn PciFunction>>; SLOTS]>);

/// What the guest wrote to the bus itself; each function has its own state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PciBusState {
    /// The address register at port 0xcf8.
    pub(crate) config_address: u32,
}

impl PciBus {
    /// A bus with a host bridge and nothing else.
    pub(crate) fn new(state: Option<PciBusState>) -> Self {
        let mut functions: [Option<Arc<dyn PciFunction>>; SLOTS] = [const { None }; SLOTS];
        functions[0] = Some(Arc::new(HostBridge::new()));
        let slots = Arc::new(Slots(Mutex::new(functions)));
        let state = state.unwrap_or_default();
        Self { ports: Arc::new(ConfigPorts::new(slots.clone(), state.config_address)), slots }
    }

    /// Plugs `function` into `slot`.
    pub(crate) fn insert(&self, slot: usize, function: Arc<dyn PciFunction>) -> Result<()> {
        match lock(&self.slots.0).get_mut(slot) {
            Some(free @ None) => {
                *free = Some(function);
                Ok(())
            }
            Some(Some(_)) => Err(Error::new(ErrorKind::AlreadyExists, format!("PCI slot {slot} is taken"))),
            None => Err(Error::new(ErrorKind::InvalidConfig, format!("there is no PCI slot {slot}"))
                .remedy(format!("give the VM at most {} devices", SLOTS - 1))),
        }
    }

    /// Unplugs what is in `slot`.
    pub(crate) fn remove(&self, slot: usize) -> Result<Arc<dyn PciFunction>> {
        let function = lock(&self.slots.0).get_mut(slot).and_then(Option::take);
        function.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("PCI slot {slot} is empty")))
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
        let mut functions: Vec<_> = lock(&self.slots.0).iter().flatten().cloned().collect();
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

impl Slots {
    /// The function of bus 0 that `device` and `function` name.
    pub(super) fn get(&self, device: usize, function: usize) -> Option<Arc<dyn PciFunction>> {
        lock(&self.0).get(device).filter(|_| function == 0)?.clone()
    }
}
