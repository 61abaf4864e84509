//! The ACPI tables that describe the machine to its operating system: processors, interrupts, PCI, hot plug, the power
//! button, reset and the watchdog.
//!
//! This file builds the fixed tables and writes all tables to guest memory. `dsdt` builds the definition block;
//! `hotplug` adds the slots for hot-plugged devices to it, and `paravirtual` the devices that only virtual machines
//! have. `wdat` describes the watchdog. The tables name registers of [`device`](crate::device).
//!
//! Source: ACPI specification 6.5, chapter 5 (tables) and section 4.8 (fixed hardware).

mod dsdt;
mod hotplug;
mod paravirtual;
mod wdat;

use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace as GasSpace, GAS};
use acpi_tables::madt::{EnabledStatus, IoApic, ProcessorLocalApic};
use acpi_tables::mcfg::MCFG;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use acpi_tables::{Aml, facs::FACS};
use uuid::Uuid;
use vm_memory::{Bytes, GuestAddress};

use crate::arch::x86_64::layout;
use crate::device::power;
use crate::memory::GuestRam;
use crate::{Error, ErrorKind, Result};

use dsdt::dsdt;
pub(super) use paravirtual::write_generation_id;

const OEM: [u8; 6] = *b"XVIRT ";
const OEM_TABLE: [u8; 8] = *b"XVIRTPC ";
const OEM_REVISION: u32 = 1;

/// Writes all tables and the generation ID that the DSDT points to. The root pointer (RSDP) lies at
/// [`layout::ACPI_TABLES`]. `slots` has a bit for each PCI slot into which devices can be plugged while the guest runs.
pub(super) fn write_tables(ram: &GuestRam, vcpus: u32, slots: u32, generation_id: Uuid) -> Result<()> {
    write_generation_id(ram, generation_id)?;
    let mut writer = Writer { ram, next: layout::ACPI_TABLES + 64 };
    let facs = writer.place(&FACS::new())?;
    let dsdt = writer.place(&dsdt(slots))?;
    let mut xsdt = XSDT::new(OEM, OEM_TABLE, OEM_REVISION);
    xsdt.add_entry(writer.place(&fadt(facs as u32, dsdt as u32))?);
    xsdt.add_entry(writer.place(&madt(vcpus))?);
    let mut mcfg = MCFG::new(OEM, OEM_TABLE, OEM_REVISION);
    mcfg.add_ecam(layout::PCI_CONFIG, 0, 0, 0);
    xsdt.add_entry(writer.place(&mcfg)?);
    xsdt.add_entry(writer.place(&wdat::table(OEM, OEM_TABLE, OEM_REVISION))?);
    let xsdt = writer.place(&xsdt)?;
    writer.next = layout::ACPI_TABLES;
    writer.place(&Rsdp::new(OEM, xsdt)).map(|_| ())
}

struct Writer<'a> {
    ram: &'a GuestRam,
    next: u64,
}

impl Writer<'_> {
    /// Writes a table at the next free address and returns that address.
    fn place(&mut self, table: &dyn Aml) -> Result<u64> {
        let mut bytes = Vec::new();
        table.to_aml_bytes(&mut bytes);
        let address = self.next;
        let end = address + bytes.len() as u64;
        if end > layout::ACPI_TABLES_END {
            return Err(Error::new(ErrorKind::InvalidConfig, "the ACPI tables exceed the memory reserved for them")
                .with_remedy("give the VM fewer vCPUs"));
        }
        self.ram.write_slice(&bytes, GuestAddress(address)).map_err(|e| {
            Error::new(ErrorKind::InvalidConfig, "the ACPI tables do not fit the guest's memory")
                .because(e)
                .with_remedy("give the VM at least 2 MiB of memory")
        })?;
        self.next = end.next_multiple_of(64);
        Ok(address)
    }
}

fn fadt(facs: u32, dsdt: u32) -> impl Aml {
    let mut fadt = FADTBuilder::new(OEM, OEM_TABLE, OEM_REVISION)
        .firmware_ctrl_32(facs)
        .dsdt_32(dsdt)
        .flag(Flags::Wbinvd)
        .flag(Flags::ProcC1)
        // Set means "no fixed sleep button"; the cleared `PwrButton` flag means that there is a fixed power button.
        .flag(Flags::SlpButton)
        .flag(Flags::TmrValExt)
        .flag(Flags::ResetRegSup);
    fadt.sci_int = (layout::POWER_INTERRUPT as u16).into();
    fadt.pm1a_evt_blk = u32::from(power::EVENT_PORT).into();
    fadt.pm1_evt_len = 4;
    fadt.pm1a_cnt_blk = u32::from(power::CONTROL_PORT).into();
    fadt.pm1_cnt_len = 2;
    fadt.pm_tmr_blk = u32::from(power::TIMER_PORT).into();
    fadt.pm_tmr_len = 4;
    fadt.gpe0_blk = u32::from(power::GENERAL_EVENT_PORT).into();
    fadt.gpe0_blk_len = 2;
    // Above the specified limits (100 and 1000 microseconds), which means that C2 and C3 are not supported.
    fadt.p_lvl2_lat = 0xFFF.into();
    fadt.p_lvl3_lat = 0xFFFF.into();
    fadt.century = 0x32;
    // There are legacy devices (bit 0) and no VGA (bit 2), but no 8042 keyboard controller (bit 1).
    fadt.iapc_boot_arch = 0b101.into();
    fadt.reset_reg = GAS::new(GasSpace::SystemIo, 8, 0, AccessSize::ByteAccess, u64::from(power::RESET_PORT));
    fadt.reset_value = power::RESET_VALUE;
    fadt.finalize()
}

fn madt(vcpus: u32) -> Sdt {
    const PC_COMPATIBLE: u32 = 1;
    let mut madt = Sdt::new(*b"APIC", 36, 4, OEM, OEM_TABLE, OEM_REVISION);
    madt.append_slice(&layout::LOCAL_APIC.to_le_bytes());
    madt.append_slice(&PC_COMPATIBLE.to_le_bytes());
    for id in 0..vcpus {
        append(&mut madt, &ProcessorLocalApic::new(id as u8, id as u8, EnabledStatus::Enabled));
    }
    append(&mut madt, &IoApic::new(0, layout::IO_APIC, 0));
    madt.append_slice(&interrupt_override(0, 2, 0));
    // The SCI is active high and level triggered.
    madt.append_slice(&interrupt_override(9, layout::POWER_INTERRUPT, 0xD));
    // NMI at LINT1 of all processors: type 4, length 6.
    madt.append_slice(&[4, 6, 0xFF, 0, 0, 1]);
    madt
}

fn append(table: &mut Sdt, entry: &dyn Aml) {
    let mut bytes = Vec::new();
    entry.to_aml_bytes(&mut bytes);
    table.append_slice(&bytes);
}

/// Interrupt source override (type 2, length 10): legacy line `source` arrives at `gsi`.
fn interrupt_override(source: u8, gsi: u32, flags: u16) -> [u8; 10] {
    let ([g0, g1, g2, g3], [f0, f1]) = (gsi.to_le_bytes(), flags.to_le_bytes());
    [2, 10, 0, source, g0, g1, g2, g3, f0, f1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ByteSize, MemoryBacking};
    use crate::memory::allocate;

    fn read(ram: &GuestRam, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        ram.read_slice(&mut bytes, GuestAddress(address)).unwrap();
        bytes
    }

    fn u32_at(bytes: &[u8], offset: usize) -> u32 {
        u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
    }

    fn table(ram: &GuestRam, address: u64) -> Vec<u8> {
        let length = u32_at(&read(ram, address, 8), 4);
        let bytes = read(ram, address, length as usize);
        assert_eq!(bytes.iter().fold(0u8, |sum, b| sum.wrapping_add(*b)), 0, "checksum at {address:#x}");
        bytes
    }

    #[test]
    fn every_table_is_reachable_from_the_root_and_sums_to_zero() {
        let ram = allocate(ByteSize::mib(2), &MemoryBacking::default()).unwrap();
        let id = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
        write_tables(&ram, 254, u32::MAX, id).unwrap();
        let root = read(&ram, layout::ACPI_TABLES, 36);
        assert_eq!(&root[..8], b"RSD PTR ");
        let xsdt = table(&ram, u64::from_le_bytes(root[24..32].try_into().unwrap()));
        let tables: Vec<_> =
            xsdt[36..].chunks(8).map(|a| table(&ram, u64::from_le_bytes(a.try_into().unwrap()))).collect();
        let names: Vec<_> = tables.iter().map(|t| String::from_utf8_lossy(&t[..4]).into_owned()).collect();
        assert_eq!(names, ["FACP", "APIC", "MCFG", "WDAT"]);
        let dsdt = table(&ram, u64::from(u32_at(&tables[0], 40)));
        assert_eq!(&dsdt[..4], b"DSDT");
        for name in [&b"_S5_"[..], b"_E01", b"_E02\x00\x86\\._SB_VGEN\x0a\x80", b"S031\x08_SUN\x0a\x1f", b"_EJ0"] {
            assert!(dsdt.windows(name.len()).any(|w| w == name), "{}", String::from_utf8_lossy(name));
        }
        assert_eq!(u32_at(&tables[0], 80), u32::from(power::GENERAL_EVENT_PORT));
        // A GUID stores its first three fields in little endian.
        assert_eq!(read(&ram, layout::GENERATION_ID, 6), [0x33, 0x22, 0x11, 0x00, 0x55, 0x44]);
        let place = (layout::GENERATION_ID as u32).to_le_bytes();
        assert!(dsdt.windows(12).any(|w| w[..5] == *b"ADDR\x12" && w[8..] == place));
        let wdat = &tables[3];
        assert_eq!(wdat.len(), 36 + 32 + u32_at(wdat, 64) as usize * 24);
        let processors = tables[1][44..].chunk_by(|_, _| false).count();
        assert!(processors > 254 * 8);
    }
}
