//! Replaces pages of memory that is mapped privately from a file with new pages of zeroes.

use std::io;
use std::ops::Range;

use vm_memory::{GuestMemoryBackend, GuestMemoryRegion, MemoryRegionAddress};

use super::{GuestRam, process};

/// Replaces a range of whole pages, which is in one region. It may become a mapping of its own, and Linux allows a process
/// 65,530 (`vm.max_map_count`): the guest must not choose how many there are.
pub(crate) fn with_zeroes(memory: &GuestRam, range: Range<u64>) -> io::Result<()> {
    let Range { start, end } = range;
    let region = memory.iter().find(|region| {
        let base = region.start_addr().0;
        base <= start && end <= base.saturating_add(region.len())
    });
    let region = region.ok_or_else(|| io::Error::other("a range to replace is not in one region of guest memory"))?;
    let place =
        region.get_host_address(MemoryRegionAddress(start - region.start_addr().0)).map_err(io::Error::other)?;
    let length = usize::try_from(end - start).map_err(io::Error::other)?;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
    // SAFETY: the range is of this region's mapping, which `memory` keeps, and stays mapped. Guest memory is only accessed
    // through volatile accesses and system calls, whatever it contains. KVM follows the change.
    let mapped = unsafe { libc::mmap(place.cast(), length, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    process::keep_range_private(mapped, length)?;
    // SAFETY: the new mapping; without huge pages, the call fails without effect.
    unsafe { libc::madvise(mapped, length, libc::MADV_HUGEPAGE) };
    Ok(())
}
