//! What a device tells its driver: interrupts, and the two bits of status that the device itself sets.

use std::fmt;
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
    /// The log knows that the device failed.
    reported: AtomicBool,
}

/// An [`Interrupt`] as data.
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
    /// One vector for each queue and one for configuration changes.
    pub(super) fn new(host: &dyn PciHost, queues: usize, state: Option<&InterruptState>) -> Result<Self> {
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

    /// Tells the driver that queue `index` has used buffers.
    pub(super) fn queue_used(&self, index: usize) {
        self.isr.fetch_or(ISR_QUEUE, Ordering::AcqRel);
        if let Some(vector) = self.queue_vectors.get(index) {
            self.msix.trigger(vector.load(Ordering::Acquire));
        }
    }

    /// Tells the driver that the device configuration is another.
    pub(super) fn config_changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.config_interrupt();
    }

    /// Tells the driver that the device cannot go on (section 2.1.2), and the log `why`: but once, for a driver can
    /// bring this about as often as it likes.
    pub(super) fn needs_reset(&self, why: &dyn fmt::Display) {
        if !self.reported.swap(true, Ordering::Relaxed) {
            tracing::warn!(reason = %why, "a virtio device needs a reset; further ones are not reported");
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

    /// Adds bits to the status; only a reset takes any away.
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

    /// A reset by the driver (section 2.4): the vector table is PCI's and stays.
    pub(super) fn reset_device(&self) {
        self.status.store(0, Ordering::Release);
        self.isr.store(0, Ordering::Release);
        self.config_vector.store(NO_VECTOR, Ordering::Release);
        for vector in &self.queue_vectors {
            vector.store(NO_VECTOR, Ordering::Release);
        }
    }

    /// Back to power-on.
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

/// A vector that is not there reads back as "none", which tells the driver that it cannot have it.
fn checked(vector: u16, vectors: usize) -> u16 {
    if usize::from(vector) < vectors { vector } else { NO_VECTOR }
}
