//! The host bridge at 00:00.0, without which an operating system does not detect the PCI bus.

use std::sync::Mutex;

use super::config::{ConfigSpace, ConfigState, Identity};
use super::slots::PciFunction;
use crate::Result;
use crate::sync::lock;

/// Red Hat's generic host bridge, which needs no driver and triggers no quirks.
const IDENTITY: Identity = Identity {
    vendor: 0x1b36,
    device: 0x0008,
    revision: 0,
    class: 0x06_00_00,
    subsystem_vendor: 0x1af4,
    subsystem: 0x1100,
};

#[derive(Debug)]
pub(super) struct HostBridge {
    config: Mutex<ConfigSpace>,
}

impl HostBridge {
    pub(super) fn new(state: Option<&ConfigState>) -> Result<Self> {
        let mut config = ConfigSpace::new(IDENTITY);
        state.map_or(Ok(()), |state| config.restore(state))?;
        Ok(Self { config: Mutex::new(config) })
    }

    /// Resets it to power-on.
    pub(super) fn reset(&self) {
        *lock(&self.config) = ConfigSpace::new(IDENTITY);
    }

    /// The registers that the guest wrote.
    pub(super) fn save(&self) -> ConfigState {
        lock(&self.config).save()
    }
}

impl PciFunction for HostBridge {
    fn config_read(&self, offset: u16, data: &mut [u8]) {
        lock(&self.config).read(offset.into(), data);
    }

    fn config_write(&self, offset: u16, data: &[u8]) {
        lock(&self.config).write(offset.into(), data);
    }
}
