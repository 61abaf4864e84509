//! The machine behind the hot plug controller: it raises the guest's event and ejects devices.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::power::PowerLine;
use super::signal::{Signal, Signals};
use crate::device::hotplug::HotPlugHost;
use crate::device::power::{GeneralEvent, Power};
use crate::pci::PciBus;

/// Removes devices from the bus at once, on the vCPU thread that ejects them, so that the guest does not find them
/// again. The owner of the machine gets a signal and does the slow rest of the removal.
#[derive(Debug)]
pub(super) struct Ejector {
    pci: Arc<PciBus>,
    power: Arc<Power<PowerLine>>,
    signals: Arc<Signals>,
    /// Slots whose device the guest may eject, one bit each.
    plugged: AtomicU32,
    /// Slots whose device is off the bus, but not yet reported to the owner, one bit each.
    ejected: AtomicU32,
}

impl Ejector {
    pub(super) fn new(pci: Arc<PciBus>, power: Arc<Power<PowerLine>>, signals: Arc<Signals>) -> Self {
        Self { pci, power, signals, plugged: AtomicU32::new(0), ejected: AtomicU32::new(0) }
    }

    /// Allows the guest to eject the device in `slot`.
    pub(super) fn allow(&self, slot: usize) {
        self.plugged.fetch_or(1 << slot, Ordering::AcqRel);
    }

    /// Forbids the guest to eject the device in `slot`.
    pub(super) fn forbid(&self, slot: usize) {
        self.plugged.fetch_and(!(1 << slot), Ordering::AcqRel);
    }

    /// The slots whose device the guest has ejected since the last call.
    pub(super) fn take_ejected(&self) -> u32 {
        self.ejected.swap(0, Ordering::AcqRel)
    }
}

impl HotPlugHost for Ejector {
    fn notify(&self) {
        self.power.raise(GeneralEvent::HotPlug);
    }

    fn eject(&self, slots: u32) {
        let taken = self.plugged.fetch_and(!slots, Ordering::AcqRel) & slots;
        if taken == 0 {
            return;
        }
        for slot in slots_of(taken) {
            // Fails only if the owner is removing the device at the same time.
            let _ = self.pci.remove(slot);
        }
        self.ejected.fetch_or(taken, Ordering::AcqRel);
        self.signals.send(Signal::Ejected);
    }

    fn ejected(&self) -> u32 {
        self.ejected.load(Ordering::Acquire)
    }
}

/// The slots of a bit mask.
pub(super) fn slots_of(bits: u32) -> impl Iterator<Item = usize> {
    (0..u32::BITS as usize).filter(move |slot| bits >> slot & 1 != 0)
}
