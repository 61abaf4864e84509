//! The interface of the fuzzers in `fuzz/` to the kernel loader.

use std::io::Cursor;

use vm_memory::GuestAddress;

use super::boot::{self, Payload};
use super::registers::Entry;
use crate::Result;
use crate::config::EntryProtocol;
use crate::memory::GuestRam;

/// Loads a kernel into `memory` bytes below 4 GiB, and returns its entry point.
pub fn load(
    kernel: &[u8],
    initrd: Option<&[u8]>,
    command_line: &str,
    protocol: EntryProtocol,
    memory: usize,
) -> Result<u64> {
    let ram = GuestRam::from_ranges(&[(GuestAddress(0), memory)]).expect("there is memory");
    let mut initrd = initrd.map(|bytes| (bytes, bytes.len() as u64));
    let initrd = initrd.as_mut().map(|(bytes, length)| (bytes, *length));
    let payload = Payload { kernel: &mut Cursor::new(kernel), initrd, command_line, protocol };
    boot::load(&ram, payload).map(|(Entry::Linux64 { address } | Entry::Pvh { address })| address)
}
