//! How a PCI function reaches the machine it is in.

use std::fmt;
use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use crate::Result;
use crate::bus::BusDevice;
use crate::thread::Panicked;

/// What a machine gives to the functions on its PCI bus.
pub(crate) trait PciHost: Send + Sync + fmt::Debug {
    /// Makes a message-signalled interrupt: masked, and without a message.
    fn msi_vector(&self) -> Result<Box<dyn MsiVector>>;

    /// Makes a guest write of any size at `address` signal `event` instead of reaching the bus.
    fn attach_doorbell(&self, address: u64, event: &EventFd) -> Result<()>;

    /// Undoes [`attach_doorbell`](Self::attach_doorbell).
    fn detach_doorbell(&self, address: u64, event: &EventFd) -> Result<()>;

    /// Lets `device` answer at guest-physical addresses `[base, base + length)`.
    fn map(&self, base: u64, length: u64, device: Arc<dyn BusDevice>) -> Result<()>;

    /// Undoes [`map`](Self::map).
    fn unmap(&self, base: u64, length: u64) -> Result<()>;

    /// Whether threads that serve functions are put under filters of system calls.
    fn filters_threads(&self) -> bool;

    /// Called on each thread that serves a function, as the first thing it does and without a filter.
    fn thread_begins(&self);

    /// A thread that served a function has ended with a panic.
    fn thread_panicked(&self, panic: Panicked);
}

/// One message-signalled interrupt. Dropping it returns what it took of the machine.
///
/// [`Msix`](super::Msix) keeps the guest's mask and pending bits itself, and writes the event only when the message may
/// be sent. It therefore calls `unmask` once a driver uses the vector, and `mask` once the driver is gone.
pub(crate) trait MsiVector: Send + Sync + fmt::Debug {
    /// Sets what is sent.
    fn set_message(&self, address: u64, data: u32) -> Result<()>;

    /// Detaches the event from the interrupt controller.
    fn mask(&self) -> Result<()>;

    /// Attaches the event to the interrupt controller: writing to it sends the message.
    fn unmask(&self) -> Result<()>;

    /// The event that sends the message.
    fn event(&self) -> &EventFd;
}
