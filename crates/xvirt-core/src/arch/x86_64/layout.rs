//! The layout of the guest's physical address space and port space.

/// The boot CPU's global descriptor table.
pub(crate) const GDT: u64 = 0x500;
/// The boot CPU's interrupt descriptor table, which is empty.
pub(crate) const IDT: u64 = 0x520;
/// PVH start information.
pub(crate) const PVH_START_INFO: u64 = 0x6000;
/// PVH module list: the initrd.
pub(crate) const PVH_MODULES: u64 = 0x6040;
/// PVH memory map.
pub(crate) const PVH_MEMORY_MAP: u64 = 0x6100;
/// Linux boot parameters, the "zero page".
pub(crate) const ZERO_PAGE: u64 = 0x7000;
/// Page tables for the 64-bit entry: three pages.
pub(crate) const PAGE_TABLES: u64 = 0x9000;
/// The kernel's command line.
pub(crate) const COMMAND_LINE: u64 = 0x2_0000;
/// The maximum length of the command line, including its terminator.
pub(crate) const COMMAND_LINE_MAX: usize = 0x1_0000;
/// The end of the operating system's memory below 1 MiB.
pub(crate) const LOW_MEMORY_END: u64 = 0x9_FC00;
/// The ACPI tables; the root pointer is the first, where an operating system searches for it.
pub(crate) const ACPI_TABLES: u64 = 0xE_0000;
/// The end of the memory reserved for ACPI tables.
pub(crate) const ACPI_TABLES_END: u64 = GENERATION_ID;
/// The generation ID, in a page that operating systems do not use as memory.
pub(crate) const GENERATION_ID: u64 = 0xF_F000;
/// The load address of kernels.
pub(crate) const HIGH_MEMORY: u64 = 0x10_0000;

/// The window for BARs of PCI devices, below [`PCI_CONFIG`].
pub(crate) const PCI_MEMORY: u64 = 0xC000_0000;
/// Length of [`PCI_MEMORY`].
pub(crate) const PCI_MEMORY_SIZE: u64 = 0x2000_0000;
/// Memory-mapped PCI configuration space (ECAM) of bus 0.
pub(crate) const PCI_CONFIG: u64 = 0xE000_0000;
/// Length of [`PCI_CONFIG`]: one bus.
pub(crate) const PCI_CONFIG_SIZE: u64 = 0x10_0000;
/// I/O APIC of the in-kernel interrupt controller.
pub(crate) const IO_APIC: u32 = 0xFEC0_0000;
/// Local APICs.
pub(crate) const LOCAL_APIC: u32 = 0xFEE0_0000;

/// Ports of the legacy PCI configuration mechanism.
pub(crate) const PCI_CONFIG_PORTS: u64 = 0xCF8;
/// Ports of the first serial port.
pub(crate) const SERIAL_PORTS: u64 = 0x3F8;
/// Interrupt line of the first serial port.
pub(crate) const SERIAL_INTERRUPT: u32 = 4;
/// Ports of the real-time clock.
pub(crate) const RTC_PORTS: u64 = 0x70;
/// Interrupt line of the real-time clock.
pub(crate) const RTC_INTERRUPT: u32 = 8;
/// Ports of power management: ACPI event, control and timer blocks, and the reset register.
pub(crate) const POWER_PORTS: u64 = 0x600;
/// Ports of the hot plug controller.
pub(crate) const HOT_PLUG_PORTS: u64 = 0x620;
/// Ports of the watchdog.
pub(crate) const WATCHDOG_PORTS: u64 = 0x640;
/// The port by which the guest reports a panic.
pub(crate) const PANIC_PORT: u64 = 0x505;
/// Interrupt line of ACPI events (SCI).
pub(crate) const POWER_INTERRUPT: u32 = 9;
