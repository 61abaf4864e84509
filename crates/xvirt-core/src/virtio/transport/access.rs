//! Dispatches the guest's reads and writes.

use super::function::{VirtioPci, log};
use super::layout::{self, PAGE};
use super::registers::Request;
use crate::pci::PciFunction;
use crate::sync::lock;
use crate::virtio::device::read_config_bytes;

/// The offset of the data register in the capability that accesses the BAR.
const PCI_ACCESS_DATA: usize = 16;

impl VirtioPci {
    pub(super) fn bar_read(&self, offset: u64, data: &mut [u8]) {
        let (page, offset) = (offset / PAGE, offset % PAGE);
        data.fill(0);
        match page {
            layout::COMMON => {
                let image = lock(&self.inner).registers.image(self.offered(), &self.interrupt);
                read_config_bytes(&image, offset as usize, data);
            }
            layout::ISR if offset == 0 => {
                if let Some(first) = data.first_mut() {
                    *first = self.interrupt.take_isr();
                }
            }
            layout::DEVICE => self.device.read_config(offset as usize, data),
            layout::TABLE => self.interrupt.msix.read_table(offset, data),
            layout::PENDING => self.interrupt.msix.read_pending(offset, data),
            _ => {}
        }
    }

    pub(super) fn bar_write(&self, offset: u64, data: &[u8]) {
        let (page, offset) = (offset / PAGE, offset % PAGE);
        match page {
            layout::COMMON => {
                let inner = &mut *lock(&self.inner);
                let (status, sizes) = (self.interrupt.status(), self.device.queue_sizes());
                match inner.registers.write(offset, data, sizes, status, &self.interrupt) {
                    Request::Status(status) => self.set_status(inner, status),
                    Request::Nothing => {}
                }
            }
            // Usually an ioeventfd handles this, and no exit reaches this code.
            layout::NOTIFY => {
                self.wake.raise();
            }
            layout::TABLE => self.interrupt.msix.write_table(offset, data),
            layout::DEVICE => self.device.write_config(offset as usize, data),
            _ => {}
        }
    }

    /// The BAR range that the driver accesses through configuration space (section 4.1.4.9), if `offset` and `length`
    /// are those of the data register.
    fn window(&self, offset: u16, length: usize) -> Option<u64> {
        let inner = lock(&self.inner);
        let capability = inner.places.pci_access;
        if usize::from(offset) != capability + PCI_ACCESS_DATA {
            return None;
        }
        let mut registers = [0; PCI_ACCESS_DATA];
        inner.config.read(capability, &mut registers);
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| registers[at + i]));
        let (bar, target, wanted) = (registers[4], word(8), word(12));
        let fits = usize::from(bar) == layout::BAR
            && matches!(wanted, 1 | 2 | 4)
            && wanted as usize == length
            && target.is_multiple_of(wanted)
            && u64::from(target) + u64::from(wanted) <= layout::BAR_SIZE;
        fits.then_some(target.into())
    }
}

impl PciFunction for VirtioPci {
    fn config_read(&self, offset: u16, data: &mut [u8]) {
        match self.window(offset, data.len()) {
            Some(target) => self.bar_read(target, data),
            None => lock(&self.inner).config.read(offset.into(), data),
        }
    }

    fn config_write(&self, offset: u16, data: &[u8]) {
        if let Some(target) = self.window(offset, data.len()) {
            return self.bar_write(target, data);
        }
        let inner = &mut *lock(&self.inner);
        inner.config.write(offset.into(), data);
        let mut control = [0; 2];
        inner.config.read(inner.places.msix_control, &mut control);
        self.interrupt.msix.set_control(u16::from_le_bytes(control));
        log(self.place(inner));
    }
}
