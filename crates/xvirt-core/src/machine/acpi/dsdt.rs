//! The DSDT: the PCI host bridge and its slots, the legacy devices, and the power-off state (`_S5_`).
//!
//! Source: ACPI specification 6.5, section 5.2.11.1 "Differentiated System Description Table", and chapter 6.

use acpi_tables::Aml;
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Interrupt, Memory32Fixed, Name, Package,
    ResourceTemplate, Scope,
};
use acpi_tables::sdt::Sdt;

use super::{OEM, OEM_REVISION, OEM_TABLE, hotplug, paravirtual};
use crate::arch::x86_64::layout;
use crate::device::power::SLEEP_TYPE_OFF;

pub(super) fn dsdt(slots: u32) -> Sdt {
    let mut bus = Vec::new();
    pci_host_bridge(&mut bus);
    bus.extend(Scope::raw("PCI0".into(), hotplug::in_host_bridge(slots)));
    pci_config_reservation(&mut bus);
    legacy_device(&mut bus, "COM1", "PNP0501", layout::SERIAL_PORTS, 8, layout::SERIAL_INTERRUPT);
    legacy_device(&mut bus, "RTC_", "PNP0B00", layout::RTC_PORTS, 2, layout::RTC_INTERRUPT);
    paravirtual::panic_port(&mut bus);
    paravirtual::generation_id(&mut bus);
    let mut body = Scope::raw("_SB_".into(), bus);
    body.extend(hotplug::events());
    paravirtual::generation_event(&mut body);
    let (off, zero) = (SLEEP_TYPE_OFF, 0u8);
    Name::new("_S5_".into(), &Package::new(vec![&off, &off, &zero, &zero])).to_aml_bytes(&mut body);
    let mut dsdt = Sdt::new(*b"DSDT", 36, 2, OEM, OEM_TABLE, OEM_REVISION);
    dsdt.append_slice(&body);
    dsdt
}

fn pci_host_bridge(sink: &mut Vec<u8>) {
    let memory_end = (layout::PCI_MEMORY + layout::PCI_MEMORY_SIZE - 1) as u32;
    Device::new(
        "PCI0".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0A08")),
            &Name::new("_CID".into(), &EISAName::new("PNP0A03")),
            &Name::new("_UID".into(), &0u8),
            &Name::new("_SEG".into(), &0u8),
            &Name::new("_BBN".into(), &0u8),
            // DMA by PCI devices is cache-coherent.
            &Name::new("_CCA".into(), &1u8),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(vec![
                    &AddressSpace::new_bus_number(0u16, 0u16),
                    &IO::new(0xCF8, 0xCF8, 1, 8),
                    &AddressSpace::new_memory(
                        AddressSpaceCacheable::NotCacheable,
                        true,
                        layout::PCI_MEMORY as u32,
                        memory_end,
                        None,
                    ),
                ]),
            ),
        ],
    )
    .to_aml_bytes(sink);
}

/// Linux uses memory-mapped configuration space (ECAM) only if a motherboard resource reserves it.
fn pci_config_reservation(sink: &mut Vec<u8>) {
    Device::new(
        "MBRD".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0C02")),
            &Name::new("_UID".into(), &0u8),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(vec![&Memory32Fixed::new(
                    true,
                    layout::PCI_CONFIG as u32,
                    layout::PCI_CONFIG_SIZE as u32,
                )]),
            ),
        ],
    )
    .to_aml_bytes(sink);
}

fn legacy_device(sink: &mut Vec<u8>, name: &str, id: &str, port: u64, ports: u8, interrupt: u32) {
    Device::new(
        name.into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new(id)),
            &Name::new("_UID".into(), &0u8),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(vec![
                    &IO::new(port as u16, port as u16, 1, ports),
                    &Interrupt::new(true, true, false, false, interrupt),
                ]),
            ),
        ],
    )
    .to_aml_bytes(sink);
}
