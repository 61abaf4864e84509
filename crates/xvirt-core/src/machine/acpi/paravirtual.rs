//! ACPI devices that only virtual machines have: the generation ID and the panic port.

use acpi_tables::Aml;
use acpi_tables::aml::{Device, IO, Method, Name, Notify, Package, Path, ResourceTemplate, Scope};
use uuid::Uuid;
use vm_memory::{Bytes, GuestAddress};

use crate::arch::x86_64::layout;
use crate::device::power::GeneralEvent;
use crate::memory::GuestRam;
use crate::{Error, ErrorKind, Result};

/// Source: Microsoft, "Virtual Machine Generation ID". Linux matches the second compatible ID, because the first is
/// longer than ACPI allows.
pub(super) fn generation_id(sink: &mut Vec<u8>) {
    let address = Package::new(vec![&(layout::GENERATION_ID as u32), &0_u32]);
    Device::new(
        "VGEN".into(),
        vec![
            &Name::new("_HID".into(), &"QEMUVGID"),
            &Name::new("_CID".into(), &Package::new(vec![&"VM_Gen_Counter", &"VMGENCTR"])),
            &Name::new("_DDN".into(), &"VM_Gen_Counter"),
            &Name::new("ADDR".into(), &address),
        ],
    )
    .to_aml_bytes(sink);
}

/// The method of the general-purpose event that announces a new generation ID.
pub(super) fn generation_event(sink: &mut Vec<u8>) {
    const CHANGED: u8 = 0x80;
    let name = format!("_E{:02X}", GeneralEvent::GenerationId as u8);
    let device: Path = "\\_SB_.VGEN".into();
    let notify = Notify::new(&device, &CHANGED);
    Scope::new("\\_GPE".into(), vec![&Method::new(name.as_str().into(), 0, false, vec![&notify])]).to_aml_bytes(sink);
}

/// Writes the generation ID where the device's `ADDR` points, in the memory layout of a GUID.
pub(in crate::machine) fn write_generation_id(ram: &GuestRam, id: Uuid) -> Result<()> {
    ram.write_slice(&id.to_bytes_le(), GuestAddress(layout::GENERATION_ID)).map_err(|e| {
        Error::new(ErrorKind::InvalidConfig, "the generation ID does not fit the guest's memory")
            .because(e)
            .with_remedy("give the VM at least 2 MiB of memory")
    })
}

/// Source: QEMU, `docs/specs/pvpanic.rst`.
pub(super) fn panic_port(sink: &mut Vec<u8>) {
    let port = layout::PANIC_PORT as u16;
    Device::new(
        "PEVT".into(),
        vec![
            &Name::new("_HID".into(), &"QEMU0001"),
            &Name::new("_CRS".into(), &ResourceTemplate::new(vec![&IO::new(port, port, 1, 1)])),
        ],
    )
    .to_aml_bytes(sink);
}
