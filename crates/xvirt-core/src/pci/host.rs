//! The machine, as PCI functions see it.

use std::fmt;
use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use crate::Result;
use crate::bus::BusDevice;
use crate::thread::Panicked;

/// The services of a machine for the functions on its PCI bus.
pub(crate) trait PciHost: Send + Sync + fmt::Debug {
    /// Sends a message-signalled interrupt.
    fn send_message(&self, address: u64, data: u32) -> Result<()>;

    /// Makes a guest write of any size at `address` signal `event` instead of reaching the bus.
    fn attach_doorbell(&self, address: u64, event: &EventFd) -> Result<()>;

    /// Reverts [`attach_doorbell`](Self::attach_doorbell).
    fn detach_doorbell(&self, address: u64, event: &EventFd) -> Result<()>;

    /// Maps `device` at guest-physical addresses `[base, base + length)`.
    fn map(&self, base: u64, length: u64, device: Arc<dyn BusDevice>) -> Result<()>;

    /// Reverts [`map`](Self::map).
    fn unmap(&self, base: u64, length: u64) -> Result<()>;

    /// Whether device threads get seccomp filters.
    fn filters_threads(&self) -> bool;

    /// Called first on each device thread, before a filter is installed.
    fn thread_begins(&self);

    /// Called when a device thread has panicked.
    fn thread_panicked(&self, panic: Panicked);
}
