//! Keeps guest memory out of child processes and core dumps.
//!
//! A child of `fork` does not need guest memory, and would share its pages copy-on-write: while the child exists, each
//! page that the guest writes is copied first, and a device could write to a copy that the guest does not see. A core
//! dump would be as large as all guests together and contain their secrets.

use std::ffi::c_void;
use std::io;

use vm_memory::MmapRegion;
use vm_memory::bitmap::Bitmap;

/// Excludes `mapping` from children of `fork`, and from core dumps unless `core_dumps`.
pub(super) fn keep_private<B: Bitmap>(mapping: &MmapRegion<B>, core_dumps: bool) -> io::Result<()> {
    let (start, length) = (mapping.as_ptr().cast(), mapping.size());
    advise(start, length, libc::MADV_DONTFORK)?;
    if core_dumps { Ok(()) } else { advise(start, length, libc::MADV_DONTDUMP) }
}

/// Excludes the mapped range at `start` from children of `fork` and from core dumps.
pub(super) fn keep_range_private(start: *mut c_void, length: usize) -> io::Result<()> {
    advise(start, length, libc::MADV_DONTFORK)?;
    advise(start, length, libc::MADV_DONTDUMP)
}

fn advise(start: *mut c_void, length: usize, advice: libc::c_int) -> io::Result<()> {
    // SAFETY: the range is mapped guest memory, and neither advice changes its contents for this process.
    let result = unsafe { libc::madvise(start, length, advice) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use vm_memory::{GuestAddress, GuestMemoryBackend};

    use crate::memory::MemoryBacking;
    use crate::memory::allocate;
    use crate::size::ByteSize;

    /// The kernel's flags of the mapping at `address` (`VmFlags` of proc_pid_smaps(5)).
    fn flags(address: usize) -> Vec<String> {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in maps.lines() {
            if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| inside) {
                return flags.split_whitespace().map(str::to_owned).collect();
            }
            let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
            if let Some((start, end)) = range
                && let (Ok(start), Ok(end)) = (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16))
            {
                inside = (start..end).contains(&address);
            }
        }
        panic!("no mapping holds {address:#x}");
    }

    #[test]
    fn all_but_the_lowest_memory_may_be_in_huge_pages() {
        let ram = allocate(ByteSize::gib(4), &MemoryBacking::default()).unwrap();
        let huge = |address| {
            let flags = flags(ram.get_host_address(GuestAddress(address)).unwrap() as usize);
            ["hg", "nh"].map(|flag| flags.iter().any(|other| other == flag))
        };
        for (address, expected) in [(0, [false, true]), (0x1f_ffff, [false, true])] {
            assert_eq!(huge(address), expected, "{address:#x}");
        }
        for address in [0x20_0000, 0x3fff_ffff, 1 << 32] {
            assert_eq!(huge(address), [true, false], "{address:#x}");
        }
    }

    #[test]
    fn children_and_core_dumps_do_not_get_guest_memory() {
        for shared in [false, true] {
            for core_dumps in [false, true] {
                let backing = MemoryBacking { shared, core_dumps, ..MemoryBacking::default() };
                let ram = allocate(ByteSize::gib(4), &backing).unwrap();
                for start in [0, 1 << 32] {
                    let flags = flags(ram.get_host_address(GuestAddress(start)).unwrap() as usize);
                    let has = |flag: &str| flags.iter().any(|other| other == flag);
                    assert!(has("dc"), "a child inherits the memory at {start:#x}: {flags:?}");
                    assert_eq!(has("dd"), !core_dumps, "{backing:?}, at {start:#x}: {flags:?}");
                }
            }
        }
    }
}
