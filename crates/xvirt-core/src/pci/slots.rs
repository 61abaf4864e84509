//! The slots of bus 0.

use std::fmt;
use std::sync::{Arc, Mutex};

use crate::sync::lock;
use crate::{Error, ErrorKind, Result};

/// The number of slots of a PCI bus; the host bridge has the first.
const SLOTS: usize = 32;

/// A function (always function 0 of its slot).
pub(crate) trait PciFunction: Send + Sync + fmt::Debug {
    /// Reads configuration registers; nonexistent registers read as ones.
    fn config_read(&self, offset: u16, data: &mut [u8]);

    /// Writes configuration registers.
    fn config_write(&self, offset: u16, data: &[u8]);
}

/// The functions by slot.
#[derive(Debug)]
pub(super) struct Slots(Mutex<[Option<Arc<dyn PciFunction>>; SLOTS]>);

impl Slots {
    /// Empty slots, except the first one with the host bridge.
    pub(super) fn new(bridge: Arc<dyn PciFunction>) -> Self {
        let mut functions = [const { None }; SLOTS];
        functions[0] = Some(bridge);
        Self(Mutex::new(functions))
    }

    /// The function of bus 0 at this device and function number.
    pub(super) fn get(&self, device: usize, function: usize) -> Option<Arc<dyn PciFunction>> {
        lock(&self.0).get(device).filter(|_| function == 0)?.clone()
    }

    /// Inserts `function` into a free slot.
    pub(super) fn insert(&self, slot: usize, function: Arc<dyn PciFunction>) -> Result<()> {
        match lock(&self.0).get_mut(slot) {
            Some(free @ None) => {
                *free = Some(function);
                Ok(())
            }
            Some(Some(_)) => Err(Error::new(ErrorKind::AlreadyExists, format!("PCI slot {slot} is taken"))),
            None => Err(Error::new(ErrorKind::InvalidConfig, format!("there is no PCI slot {slot}"))
                .with_remedy(format!("give the VM at most {} devices", SLOTS - 1))),
        }
    }

    /// Empties a slot and returns its function.
    pub(super) fn remove(&self, slot: usize) -> Result<Arc<dyn PciFunction>> {
        let function = lock(&self.0).get_mut(slot).and_then(Option::take);
        function.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("PCI slot {slot} is empty")))
    }
}
