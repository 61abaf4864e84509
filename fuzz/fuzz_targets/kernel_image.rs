//! Fuzzes the loader of kernels: bzImage, ELF, and ELF with a PVH entry.
//!
//! The first two bytes select the protocol and the memory size; the rest is the image.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xvirt_core::config::EntryProtocol;
use xvirt_core::fuzzing::kernel::load;

fuzz_target!(|data: &[u8]| {
    let Some(([protocol, memory], kernel)) = data.split_first_chunk() else { return };
    let protocol = match protocol % 3 {
        0 => EntryProtocol::Auto,
        1 => EntryProtocol::Pvh,
        _ => EntryProtocol::Linux64,
    };
    let initrd = [7; 5000];
    let initrd = (memory & 0x80 == 0).then_some(&initrd[..]);
    // From 1 to 64 MiB.
    let memory = (usize::from(memory & 0x3f) + 1) << 20;
    // The result does not matter: any entry point is in the guest's own memory.
    drop(load(kernel, initrd, "console=ttyS0", protocol, memory));
});
