//! How the hot plug controller reaches the machine: the event that the guest hears, and devices that it lets go of.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::power::PowerLine;
use super::signal::{Signal, Signals};
use crate::device::hotplug::HotPlugHost;
use crate::device::power::{GeneralEvent, Power};
use crate::pci::PciBus;

/// Takes devices off the bus at once, on the vCPU that lets go of them, so that the guest does not find them again. What
/// takes time is left to the owner of the machine, who is told.
#[derive(Debug)]
pub(super) struct Ejector {
    pci: Arc<PciBus>,
    power: Arc<Power<PowerLine>>,
    signals: Arc<Signals>,
    /// Slots with a device that the guest may let go of, a bit for each.
    plugged: AtomicU32,
    /// Slots whose device is off the bus, and that the owner has not heard of.
    ejected: AtomicU32,
}

impl Ejector {
    pub(super) fn new(pci: Arc<PciBus>, power: Arc<Power<PowerLine>>, signals: Arc<Signals>) -> Self {
        Self { pci, power, signals, plugged: AtomicU32::new(0), ejected: AtomicU32::new(0) }
    }

    /// From now on the guest may let go of what is in `slot`.
    pub(super) fn allow(&self, slot: usize) {
        self.plugged.fetch_or(1 << slot, Ordering::AcqRel);
    }

    /// From now on it may not.
    pub(super) fn forbid(&self, slot: usize) {
        self.plugged.fetch_and(!(1 << slot), Ordering::AcqRel);
    }

    /// The slots whose device the guest has let go of since the last call.
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
            // It is there, unless the owner takes it away at this moment.
            let _ = self.pci.remove(slot);
        }
        self.ejected.fetch_or(taken, Ordering::AcqRel);
        self.signals.send(Signal::Ejected);
    }

    fn ejected(&self) -> u32 {
        self.ejected.load(Ordering::Acquire)
    }
}

/// The slots that bits stand for.
pub(super) fn slots_of(bits: u32) -> impl Iterator<Item = usize> {
    (0..u32::BITS as usize).filter(move |slot| bits >> slot & 1 != 0)
}
