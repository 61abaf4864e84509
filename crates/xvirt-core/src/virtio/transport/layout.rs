//! The layout of the BAR, and the capabilities that describe it (virtio 1.2, section 4.1.4).

use crate::Result;
use crate::pci::{ConfigSpace, Identity, Msix};
use crate::virtio::DeviceKind;

/// Size and alignment of the only BAR, in bytes.
pub(crate) const BAR_SIZE: u64 = 0x8000;
/// The index of the BAR.
pub(super) const BAR: usize = 0;

/// Each structure has a page of the BAR.
pub(super) const PAGE: u64 = 0x1000;
pub(super) const COMMON: u64 = 0;
pub(super) const ISR: u64 = 1;
pub(super) const DEVICE: u64 = 2;
pub(super) const NOTIFY: u64 = 3;
pub(super) const TABLE: u64 = 4;
pub(super) const PENDING: u64 = 5;

/// The distance between the notification addresses of two queues, in bytes.
pub(super) const NOTIFY_MULTIPLIER: u32 = 4;

/// The most queues for which these pages have room.
pub(super) const MAX_QUEUES: usize = (PAGE / 16) as usize - 1;

const VENDOR_SPECIFIC: u8 = 0x09;
const MSIX: u8 = 0x11;
/// Structure types (section 4.1.4).
const TYPE_COMMON: u8 = 1;
const TYPE_NOTIFY: u8 = 2;
const TYPE_ISR: u8 = 3;
const TYPE_DEVICE: u8 = 4;
const TYPE_PCI_ACCESS: u8 = 5;

/// Offsets of the registers that the transport checks after the guest wrote to configuration space.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    /// MSI-X message control.
    pub(super) msix_control: usize,
    /// The capability that gives access to the BAR (section 4.1.4.9).
    pub(super) pci_access: usize,
}

/// The configuration space of a device at power-on.
pub(super) fn config_space(kind: DeviceKind, queues: usize, msix: &Msix, bar: u64) -> Result<(ConfigSpace, Places)> {
    let mut config = ConfigSpace::new(Identity {
        vendor: 0x1af4,
        device: 0x1040 + kind as u16,
        revision: 1,
        class: kind.pci_class(),
        subsystem_vendor: 0x1af4,
        subsystem: 0x1100,
    });
    config.add_memory_bar(BAR, bar, BAR_SIZE)?;
    let notify_length = NOTIFY_MULTIPLIER * queues as u32;
    for (kind, page, length) in [(TYPE_COMMON, COMMON, 56), (TYPE_ISR, ISR, 1), (TYPE_DEVICE, DEVICE, PAGE as u32)] {
        config.add_capability(VENDOR_SPECIFIC, &body::<14>(kind, page, length), &[])?;
    }
    let mut notify = body::<18>(TYPE_NOTIFY, NOTIFY, notify_length);
    notify[14..].copy_from_slice(&NOTIFY_MULTIPLIER.to_le_bytes());
    config.add_capability(VENDOR_SPECIFIC, &notify, &[])?;
    // The driver selects BAR, offset and length, and accesses the data after them.
    let mut writable = [0xff; 18];
    writable[..2].fill(0);
    writable[3..6].fill(0);
    let pci_access = config.add_capability(VENDOR_SPECIFIC, &body::<18>(TYPE_PCI_ACCESS, 0, 0), &writable)?;
    let (body, writable) = msix.capability(BAR as u8, (TABLE * PAGE) as u32, (PENDING * PAGE) as u32);
    let msix_control = config.add_capability(MSIX, &body, &writable)? + 2;
    Ok((config, Places { msix_control, pci_access }))
}

/// `struct virtio_pci_cap` without its first two bytes.
fn body<const N: usize>(kind: u8, page: u64, length: u32) -> [u8; N] {
    let mut body = [0; N];
    (body[0], body[1], body[2]) = (N as u8 + 2, kind, BAR as u8);
    body[6..10].copy_from_slice(&((page * PAGE) as u32).to_le_bytes());
    body[10..14].copy_from_slice(&length.to_le_bytes());
    body
}
