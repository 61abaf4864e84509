//! Guest memory as slices for host backends.

use vm_memory::bitmap::Bitmap;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

use super::{GuestRam, GuestSlice};
use crate::Result;

/// Appends the pieces of host memory behind guest memory `[address, address + length)` to `slices`.
///
/// `None` if a part of the range is not guest memory. Writes to these slices are not tracked: after a write by a
/// backend, the caller must call [`mark_dirty`].
pub(crate) fn append_slices<'a>(
    memory: &'a GuestRam,
    address: u64,
    length: usize,
    slices: &mut Vec<GuestSlice<'a>>,
) -> Option<()> {
    for slice in memory.get_slices(GuestAddress(address), length) {
        let slice = slice.ok()?;
        let (pointer, length) = (slice.ptr_guard_mut().as_ptr(), slice.len());
        // SAFETY: `slice` covers `length` bytes at `pointer` of a mapping that `memory` keeps for 'a. Guest memory is
        // only accessed through volatile accesses and system calls.
        slices.push(unsafe { GuestSlice::new(pointer, length) });
    }
    Some(())
}

/// Waits until guest memory `[address, address + length)` has been loaded, in a VM that runs before all of it is there.
/// What is not guest memory is ignored.
///
/// Devices must do so before they move data. A touch of missing memory waits as well, but if loading fails, it finds
/// zeroes, which must not get to a disk.
///
/// # Errors
/// It cannot be loaded.
pub(crate) fn require_loaded(memory: &GuestRam, address: u64, length: usize) -> Result<()> {
    let end = address.saturating_add(length as u64);
    for region in memory.iter() {
        let (start, stop) = (region.start_addr().0, region.start_addr().0.saturating_add(region.len()));
        let (from, to) = (address.max(start), end.min(stop));
        if from < to {
            let base = region.get_mmap().as_ptr() as usize;
            region.get_mmap().bitmap().before_use(&(base + (from - start) as usize..base + (to - start) as usize))?;
        }
    }
    Ok(())
}

/// Checks what was just read from guest memory without [`require_loaded`] before.
///
/// # Errors
/// Some memory cannot be loaded, so zeroes may have been read in its place.
pub(crate) fn require_was_loaded(memory: &GuestRam) -> Result<()> {
    memory.iter().try_for_each(|region| region.get_mmap().bitmap().after_use())
}

/// Marks guest memory `[address, address + length)` in the dirty bitmap after an untracked write.
pub(crate) fn mark_dirty(memory: &GuestRam, address: u64, length: usize) {
    for slice in memory.get_slices(GuestAddress(address), length).flatten() {
        slice.bitmap().mark_dirty(0, slice.len());
    }
}

#[cfg(test)]
mod tests {
    use vm_memory::{Bytes, GuestMemoryRegion};

    use super::*;

    fn memory() -> GuestRam {
        let ranges = [(GuestAddress(0), 0x2000), (GuestAddress(0x2000), 0x2000), (GuestAddress(0x10_0000), 0x1000)];
        GuestRam::from_ranges(&ranges).unwrap()
    }

    #[test]
    fn a_range_over_two_regions_gives_two_slices_and_a_hole_none() {
        let memory = memory();
        memory.write_obj(0x1122_u16, GuestAddress(0x1fff)).unwrap();
        let mut slices = Vec::new();
        append_slices(&memory, 0x1fff, 2, &mut slices).unwrap();
        assert_eq!(slices.iter().map(GuestSlice::len).collect::<Vec<_>>(), [1, 1]);
        let mut byte = [0_u8];
        slices[1].copy_to(&mut byte);
        assert_eq!(byte, [0x11]);
        for (address, length) in [(0x3fff, 2), (0x8000, 1), (u64::MAX, 2), (0x10_0000, 0x1001)] {
            assert_eq!(append_slices(&memory, address, length, &mut Vec::new()), None);
        }
    }

    #[test]
    fn dirty_ranges_reach_the_bitmap() {
        let memory = memory();
        mark_dirty(&memory, 0x1fff, 2);
        let dirty: Vec<_> = memory.iter().map(|r| (r.bitmap().dirty_at(0), r.bitmap().dirty_at(0x1fff))).collect();
        assert_eq!(dirty[..2], [(false, true), (true, false)]);
    }
}
