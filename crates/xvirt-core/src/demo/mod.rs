//! The demo guest: a small freestanding kernel that exercises every device and prints what it sees.
//!
//! The build script compiles it from `demo/`. It needs no disk image, no firmware and no floating point, so it runs on
//! every usable KVM, even without hardware virtualization, and boots in milliseconds. It supports PVH and the 64-bit
//! Linux boot protocol. Its [`CommandLine`] selects what it does; every line it prints is one event, on COM1 and on the
//! virtio console.
//!
//! ```
//! use xvirt_core::demo::{CommandLine, Mode};
//!
//! let line = CommandLine::new([Mode::Hello, Mode::PowerOff]);
//! assert_eq!(line.to_string(), "mode=hello,poweroff");
//! ```

mod command_line;
mod output;
mod soak;

pub use command_line::{CommandLine, Mode};
pub use output::{DONE, ECHO_READY, FAILED, POWER_BUTTON, STARTED, counter_pass, cpu_up, tick, value};
pub use soak::soak_digest;

static KERNEL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/demo.elf"));

/// The guest as an ELF64 image: its entry point is for the 64-bit Linux protocol, its Xen note contains the PVH entry
/// point.
pub fn kernel() -> &'static [u8] {
    KERNEL
}

#[cfg(test)]
mod tests {
    use super::*;

    fn u16_at(at: usize) -> u16 {
        u16::from_le_bytes([KERNEL[at], KERNEL[at + 1]])
    }

    fn u64_at(at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&KERNEL[at..at + 8]);
        u64::from_le_bytes(bytes)
    }

    /// File offset, file size, load address and memory size of the program headers of a type.
    fn segments(kind: u8) -> Vec<(usize, u64, u64)> {
        let table = u64_at(32) as usize;
        (0..usize::from(u16_at(56)))
            .map(|i| table + i * 56)
            .filter(|&at| KERNEL[at] == kind)
            .map(|at| (u64_at(at + 8) as usize, u64_at(at + 24), u64_at(at + 40)))
            .collect()
    }

    #[test]
    fn the_image_has_both_entries_inside_what_is_loaded() {
        const PT_LOAD: u8 = 1;
        const PT_NOTE: u8 = 4;

        assert_eq!(&KERNEL[..5], b"\x7fELF\x02");
        let loaded = |address: u64| segments(PT_LOAD).iter().any(|&(_, at, size)| (at..at + size).contains(&address));
        let note = segments(PT_NOTE)[0].0;
        assert_eq!(&KERNEL[note + 12..note + 16], b"Xen\0");
        let (linux, pvh) = (u64_at(24), u64_at(note + 16));
        assert!(loaded(linux) && loaded(pvh));
        assert_ne!(linux, pvh);
    }

    #[test]
    fn the_image_starts_at_1_mib_and_stays_small() {
        const PT_LOAD: u8 = 1;

        assert_eq!(segments(PT_LOAD)[0].1, 1 << 20);
        assert!(segments(PT_LOAD).iter().all(|&(_, at, size)| at + size <= 2 << 20));
    }
}
