//! Notifications from a device to its driver: interrupts, and the status bits that the device sets.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, Ordering};

use serde::{Deserialize, Serialize};
use virtio_bindings::virtio_config::VIRTIO_CONFIG_S_NEEDS_RESET;

use crate::Result;
use crate::pci::{Msix, MsixState, PciHost};

/// "No interrupt" as an MSI-X vector (virtio 1.2, section 4.1.4.3).
pub(super) const NO_VECTOR: u16 = 0xffff;
const NEEDS_RESET: u8 = VIRTIO_CONFIG_S_NEEDS_RESET as u8;
const ISR_QUEUE: u8 = 1;
const ISR_CONFIG: u8 = 2;

/// The registers that both the transport and the worker write, and the interrupts behind them.
#[derive(Debug)]
pub(super) struct Interrupt {
    pub(super) msix: Msix,
    status: AtomicU8,
    isr: AtomicU8,
    generation: AtomicU8,
    config_vector: AtomicU16,
    queue_vectors: Vec<AtomicU16>,
    /// The failure was logged already.
    reported: AtomicBool,
}

/// The saved state of an [`Interrupt`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InterruptState {
    /// Device status.
    pub(crate) status: u8,
    /// ISR status.
    pub(crate) isr: u8,
    /// Configuration generation.
    pub(crate) generation: u8,
    /// Vector for configuration changes.
    pub(crate) config_vector: u16,
    /// Vector of each queue.
    pub(crate) queue_vectors: Vec<u16>,
    /// The vectors.
    pub(crate) msix: MsixState,
}

impl Interrupt {
    /// Has one vector per queue and one for configuration changes.
    pub(super) fn new(host: Arc<dyn PciHost>, queues: usize, state: Option<&InterruptState>) -> Result<Self> {
        let vectors = queues + 1;
        let vector = |vector: Option<u16>| AtomicU16::new(vector.map_or(NO_VECTOR, |v| checked(v, vectors)));
        Ok(Self {
            msix: Msix::new(host, vectors, state.map(|s| &s.msix))?,
            status: AtomicU8::new(state.map_or(0, |s| s.status)),
            isr: AtomicU8::new(state.map_or(0, |s| s.isr)),
            generation: AtomicU8::new(state.map_or(0, |s| s.generation)),
            config_vector: vector(state.map(|s| s.config_vector)),
            queue_vectors: (0..queues).map(|i| vector(state.and_then(|s| s.queue_vectors.get(i).copied()))).collect(),
            reported: AtomicBool::new(false),
        })
    }

    /// Notifies the driver of used buffers in queue `index`.
    pub(super) fn queue_used(&self, index: usize) {
        self.isr.fetch_or(ISR_QUEUE, Ordering::AcqRel);
        if let Some(vector) = self.queue_vectors.get(index) {
            self.msix.trigger(vector.load(Ordering::Acquire));
        }
    }

    /// Notifies the driver of a configuration change.
    pub(super) fn config_changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.config_interrupt();
    }

    /// Tells the driver that the device has failed (section 2.1.2), and logs the reason. Only the first failure is
    /// logged, because a driver can cause failures at any rate.
    pub(super) fn needs_reset(&self, why: &dyn fmt::Display) {
        if !self.reported.swap(true, Ordering::Relaxed) {
            tracing::warn!(reason = %why, "a virtio device needs a reset by its driver; further failures are not logged");
        }
        self.status.fetch_or(NEEDS_RESET, Ordering::AcqRel);
        self.config_interrupt();
    }

    fn config_interrupt(&self) {
        self.isr.fetch_or(ISR_CONFIG, Ordering::AcqRel);
        self.msix.trigger(self.config_vector.load(Ordering::Acquire));
    }

    pub(super) fn status(&self) -> u8 {
        self.status.load(Ordering::Acquire)
    }

    /// Sets status bits; only a reset clears them.
    pub(super) fn add_status(&self, bits: u8) {
        self.status.fetch_or(bits, Ordering::AcqRel);
    }

    /// Reads and clears the ISR status (section 4.1.4.5).
    pub(super) fn take_isr(&self) -> u8 {
        self.isr.swap(0, Ordering::AcqRel)
    }

    pub(super) fn generation(&self) -> u8 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn config_vector(&self) -> u16 {
        self.config_vector.load(Ordering::Acquire)
    }

    pub(super) fn set_config_vector(&self, vector: u16) {
        self.config_vector.store(self.checked(vector), Ordering::Release);
    }

    pub(super) fn queue_vector(&self, queue: u16) -> u16 {
        self.queue_vectors.get(usize::from(queue)).map_or(NO_VECTOR, |v| v.load(Ordering::Acquire))
    }

    pub(super) fn set_queue_vector(&self, queue: u16, vector: u16) {
        if let Some(register) = self.queue_vectors.get(usize::from(queue)) {
            register.store(self.checked(vector), Ordering::Release);
        }
    }

    fn checked(&self, vector: u16) -> u16 {
        checked(vector, self.queue_vectors.len() + 1)
    }

    /// Resets the device on the driver's request (section 2.4). The MSI-X table belongs to PCI and stays.
    pub(super) fn reset_device(&self) {
        self.status.store(0, Ordering::Release);
        self.isr.store(0, Ordering::Release);
        self.config_vector.store(NO_VECTOR, Ordering::Release);
        for vector in &self.queue_vectors {
            vector.store(NO_VECTOR, Ordering::Release);
        }
    }

    /// Resets everything to power-on.
    pub(super) fn reset(&self) {
        self.reset_device();
        self.generation.store(0, Ordering::Release);
        self.msix.reset();
    }

    pub(super) fn save(&self) -> InterruptState {
        InterruptState {
            status: self.status(),
            isr: self.isr.load(Ordering::Acquire),
            generation: self.generation(),
            config_vector: self.config_vector(),
            queue_vectors: self.queue_vectors.iter().map(|v| v.load(Ordering::Acquire)).collect(),
            msix: self.msix.save(),
        }
    }
}

/// A vector that does not exist reads back as `NO_VECTOR`, which tells the driver that the assignment failed.
fn checked(vector: u16, vectors: usize) -> u16 {
    if usize::from(vector) < vectors { vector } else { NO_VECTOR }
}
