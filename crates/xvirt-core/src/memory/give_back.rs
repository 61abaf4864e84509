//! Releases unused guest memory to the host.

use std::io;
use std::ops::Range;

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion, GuestRegionMmap, MemoryRegionAddress};

use super::written::WrittenPages;
use super::{GuestRam, mark_dirty};

const PAGE: u64 = 4096;

/// What released pages contain when they are read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    Zeroes,
    /// Whatever is cheapest for the host.
    Undefined,
}

/// Releases the whole pages in `range` that are guest memory. The host allocates them again when the guest touches them.
/// Other parts of `range` are ignored.
///
/// Released pages are zeroes, except those of memory that is mapped from the file of a saved state: they are as in the
/// file again, which other VMs may share. If they must be zeroes they are kept, because each range of new memory would
/// be another mapping, of which a process must not have many.
///
/// Reserved huge pages are kept: releasing them would give up their reservation, and if another program then took the
/// last one, the guest's next access would kill this process.
pub(crate) fn give_back(memory: &GuestRam, range: Range<u64>, contents: Contents) -> io::Result<()> {
    let (Some(start), end) = (range.start.checked_next_multiple_of(PAGE), range.end & !(PAGE - 1)) else {
        return Ok(());
    };
    for region in memory.iter() {
        let base = region.start_addr().0;
        let (from, to) = (start.max(base), end.min(base.saturating_add(region.len())));
        if from >= to || region.is_hugetlbfs() == Some(true) {
            continue;
        }
        if is_private_file(region) && contents == Contents::Zeroes {
            continue;
        }
        let is_shared = region.get_mmap().flags() & libc::MAP_SHARED != 0;
        let advice = if is_shared { libc::MADV_REMOVE } else { libc::MADV_DONTNEED };
        let address = region.get_host_address(MemoryRegionAddress(from - base)).map_err(io::Error::other)?;
        let length = usize::try_from(to - from).map_err(io::Error::other)?;
        let mapping = region.get_mmap();
        let _kept = mapping.bitmap().before_release(&(address as usize..address as usize + length));
        // SAFETY: `length` bytes from `address` are in this region's mapping, which `memory` keeps. The range stays
        // mapped, and guest memory is only accessed through volatile accesses and system calls, whatever it contains.
        let advised = match unsafe { libc::madvise(address.cast(), length, advice) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        };
        // Also after a failure, before which a part may have been released.
        mark_dirty(memory, from, length);
        advised?;
    }
    Ok(())
}

/// Makes memory that lies in files all zeroes. Other memory is, because it is new. None may be mapped privately from a file:
/// that is never new.
pub(crate) fn clear_files(memory: &GuestRam) -> io::Result<()> {
    for region in memory.iter().filter(|region| region.file_offset().is_some()) {
        let range = region.start_addr().0..region.start_addr().0.saturating_add(region.len());
        if region.is_hugetlbfs() == Some(true) {
            let zeroes = vec![0; 2 << 20];
            for address in range.step_by(zeroes.len()) {
                let length = zeroes.len().min((region.start_addr().0 + region.len() - address) as usize);
                memory.write_slice(&zeroes[..length], GuestAddress(address)).map_err(io::Error::other)?;
            }
        } else {
            give_back(memory, range, Contents::Zeroes)?;
        }
    }
    Ok(())
}

/// Whether the region is mapped from the file of a saved state, which it does not change.
fn is_private_file(region: &GuestRegionMmap<WrittenPages>) -> bool {
    region.get_mmap().flags() & libc::MAP_SHARED == 0 && region.file_offset().is_some()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    use vm_memory::bitmap::Bitmap;

    use super::*;
    use crate::memory::MemoryBacking;
    use crate::memory::{allocate, append_slices, map_privately};
    use crate::size::ByteSize;

    /// For each of `count` pages from `address`, whether the host has allocated memory.
    pub(crate) fn resident(memory: &GuestRam, address: u64, count: usize) -> Vec<bool> {
        let mut pages = vec![0_u8; count];
        let start = memory.get_host_address(GuestAddress(address)).unwrap();
        let length = count * PAGE as usize;
        // SAFETY: the range is mapped, and `pages` has a byte for each of its pages.
        assert_eq!(unsafe { libc::mincore(start.cast(), length, pages.as_mut_ptr()) }, 0);
        pages.iter().map(|page| page & 1 != 0).collect()
    }

    fn filled(shared: bool) -> GuestRam {
        let backing = MemoryBacking { shared, ..MemoryBacking::default() };
        let memory = allocate(ByteSize::mib(4), &backing).unwrap();
        let mut slices = Vec::new();
        append_slices(&memory, 0, 4 << 20, &mut slices).unwrap();
        slices[0].copy_from(&[0xa5_u8; 4 << 20]);
        memory
    }

    fn dirty(memory: &GuestRam, address: u64) -> bool {
        memory.iter().next().unwrap().bitmap().dirty_at(address as usize)
    }

    #[test]
    fn whole_pages_go_and_come_back_as_zeroes() {
        for shared in [false, true] {
            let memory = filled(shared);
            give_back(&memory, 0x10_0800..0x10_4800, Contents::Zeroes).unwrap();
            assert_eq!(resident(&memory, 0x10_0000, 6), [true, false, false, false, true, true], "shared: {shared}");
            let first = |address| memory.read_obj::<u8>(GuestAddress(address)).unwrap();
            assert_eq!([first(0x10_0fff), first(0x10_1000), first(0x10_3fff), first(0x10_4000)], [0xa5, 0, 0, 0xa5]);
            assert_eq!(
                [0x10_0000, 0x10_1000, 0x10_3000, 0x10_4000].map(|a| dirty(&memory, a)),
                [false, true, true, false]
            );
            memory.write_obj(7_u8, GuestAddress(0x10_2000)).unwrap();
            assert_eq!(first(0x10_2000), 7);
        }
    }

    #[test]
    fn what_is_not_guest_memory_is_left_alone() {
        let memory = filled(false);
        let empty =
            [(0, 0), (5, 4096), (0x2000, 0x1000), (u64::MAX - 8, u64::MAX), (u64::MAX, 0), (0x40_0000, 0x50_0000)];
        for (start, end) in empty {
            give_back(&memory, start..end, Contents::Zeroes).unwrap();
            assert_eq!(memory.read_obj::<u8>(GuestAddress(0)).unwrap(), 0xa5, "{start:#x} to {end:#x}");
        }
        give_back(&memory, 0x3f_f000..u64::MAX, Contents::Zeroes).unwrap();
        assert_eq!(resident(&memory, 0x3f_e000, 2), [true, false]);
    }

    /// A file of `length` bytes that was used before.
    fn used_file(length: usize) -> File {
        let file = File::from(rustix::fs::memfd_create("used", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        file.write_all_at(&vec![0x5a; length], 0).unwrap();
        file
    }

    #[test]
    fn only_memory_in_files_is_cleared_and_the_rest_of_the_file_stays() {
        const LENGTH: usize = 4 << 20;
        let file = used_file(LENGTH + 4096);
        let backing = MemoryBacking { file: Some(file.try_clone().unwrap().into()), ..MemoryBacking::default() };
        for memory in [allocate(ByteSize::mib(4), &backing).unwrap(), filled(true)] {
            let mut bytes = vec![0; LENGTH];
            memory.read_slice(&mut bytes, GuestAddress(0)).unwrap();
            assert!(bytes.iter().all(|byte| *byte != 0), "it is in use");
            clear_files(&memory).unwrap();
            memory.read_slice(&mut bytes, GuestAddress(0)).unwrap();
            assert!(bytes.iter().all(|byte| *byte == 0));
            assert!(dirty(&memory, 0) && dirty(&memory, LENGTH as u64 - 4096));
        }
        let mut after = [0; 4096];
        file.read_exact_at(&mut after, LENGTH as u64).unwrap();
        assert_eq!(after, [0x5a; 4096]);

        let private = filled(false);
        clear_files(&private).unwrap();
        assert_eq!(private.read_obj::<u8>(GuestAddress(0x1234)).unwrap(), 0xa5);
    }

    #[test]
    fn pages_of_a_private_file_are_as_in_the_file_again_or_kept() {
        let file = Arc::new(used_file(8 * PAGE as usize));
        let memory = map_privately(&[(0, 8 * PAGE)], &file, 0, &MemoryBacking::default()).unwrap();
        let first = |page| memory.read_obj::<u8>(GuestAddress(page * PAGE)).unwrap();
        for page in 0..8 {
            memory.write_obj(7_u8, GuestAddress(page * PAGE)).unwrap();
        }
        memory.iter().for_each(|region| region.get_mmap().bitmap().reset());
        give_back(&memory, PAGE..3 * PAGE, Contents::Zeroes).unwrap();
        assert!([1, 2].into_iter().all(|page| first(page) == 7 && !dirty(&memory, page * PAGE)));
        give_back(&memory, PAGE + 1..4 * PAGE - 1, Contents::Undefined).unwrap();
        assert_eq!([1, 2, 3].map(first), [7, 0x5a, 7]);
        assert_eq!([1, 2, 3].map(|page| dirty(&memory, page * PAGE)), [false, true, false]);
        memory.write_obj(9_u8, GuestAddress(2 * PAGE)).unwrap();
        let mut bytes = vec![0; 8 * PAGE as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0x5a), "the file is as it was");
    }
}
