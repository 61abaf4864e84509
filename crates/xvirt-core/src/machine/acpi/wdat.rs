//! The watchdog action table (WDAT), which tells the guest how to use the registers of [`watchdog`].

use acpi_tables::sdt::Sdt;

use crate::arch::x86_64::layout::WATCHDOG_PORTS;
use crate::device::watchdog::{self, CONTROL, COUNT, LEFT, PERIOD, PING, STATUS};

/// Instructions of the WDAT.
const READ_VALUE: u8 = 0;
const READ_COUNT: u8 = 1;
const WRITE_VALUE: u8 = 2;
const WRITE_COUNT: u8 = 3;

/// The supported actions: number, instruction, register, width of the register in bytes, and the value to write or to
/// compare with.
const ACTIONS: [(u8, u8, u64, u8, u32); 10] = [
    (1, WRITE_VALUE, PING, 1, 1),     // ping
    (4, READ_COUNT, LEFT, 2, 0),      // query the current countdown
    (5, READ_COUNT, COUNT, 2, 0),     // query the countdown period
    (6, WRITE_COUNT, COUNT, 2, 0),    // set the countdown period
    (8, READ_VALUE, CONTROL, 1, 1),   // query whether it runs
    (9, WRITE_VALUE, CONTROL, 1, 1),  // start
    (10, READ_VALUE, CONTROL, 1, 0),  // query whether it is stopped
    (11, WRITE_VALUE, CONTROL, 1, 0), // stop
    (32, READ_VALUE, STATUS, 1, 1),   // query whether it caused the last reset
    (33, WRITE_VALUE, STATUS, 1, 1),  // clear that status
];

/// The table; its specification fixes lengths and offsets.
pub(super) fn table(oem: [u8; 6], oem_table: [u8; 8], oem_revision: u32) -> Sdt {
    /// The length of the fields after the standard header.
    const HEADER_LENGTH: u32 = 32;
    const NO_PCI: [u8; 8] = [0xff, 0, 0xff, 0xff, 0xff, 0, 0, 0];
    const ENABLED: u32 = 1;
    const SYSTEM_IO: u8 = 1;
    let mut table = Sdt::new(*b"WDAT", 36, 1, oem, oem_table, oem_revision);
    table.append_slice(&HEADER_LENGTH.to_le_bytes());
    table.append_slice(&NO_PCI);
    let (most, least) = (u32::from(u16::MAX), 1);
    for field in [PERIOD.as_millis() as u32, most, least, ENABLED, ACTIONS.len() as u32] {
        table.append_slice(&field.to_le_bytes());
    }
    for (action, instruction, register, bytes, value) in ACTIONS {
        // The access size is 1 for bytes and 2 for words.
        table.append_slice(&[action, instruction, 0, 0, SYSTEM_IO, 8 * bytes, 0, bytes]);
        table.append_slice(&(WATCHDOG_PORTS + register).to_le_bytes());
        let mask = if bytes == 1 { 1 } else { u32::from(u16::MAX) };
        table.append_slice(&value.to_le_bytes());
        table.append_slice(&mask.to_le_bytes());
    }
    table
}

// Every register lies in the watchdog's ports.
const _: () = assert!(STATUS < watchdog::PORTS);
