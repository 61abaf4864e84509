//! Backs guest memory with transparent huge pages, which make page faults and address translation several times
//! cheaper.
//!
//! KVM can map a huge page of the host as a huge page of the guest only if both addresses are equally aligned. Guest
//! memory starts at a multiple of 2 MiB, so its mapping should as well. Linux ensures that since 6.7; on older kernels
//! a placeholder mapping adjusts the alignment. A concurrent mapping in another thread may interfere, which only costs
//! speed.

use std::ffi::c_void;
use std::ptr;

use vm_memory::MmapRegion;
use vm_memory::bitmap::Bitmap;

const HUGE_PAGE: usize = 2 << 20;

/// Reserved address space, until it is dropped.
pub(super) struct Placeholder {
    address: *mut c_void,
    length: usize,
}

impl Placeholder {
    /// A placeholder that makes the next mapping of `length` bytes start at a multiple of 2 MiB; `None` if it would
    /// anyway.
    pub(super) fn aligning(length: usize) -> Option<Self> {
        let trial = Self::take(length)?;
        let excess = trial.address as usize % HUGE_PAGE;
        drop(trial);
        // Linux allocates address space downwards, so a mapping moves the next one down.
        if excess == 0 { None } else { Self::take(excess) }
    }

    fn take(length: usize) -> Option<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address chosen by the kernel.
        let address = unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_NONE, flags, -1, 0) };
        (address != libc::MAP_FAILED).then_some(Self { address, length })
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping created by `take`, which has no other user.
        unsafe { libc::munmap(self.address, self.length) };
    }
}

/// Requests huge pages for a mapping of guest memory from address `start` on, for hosts that provide them on request.
///
/// The first 2 MiB of a guest stay in small pages: a boot touches little of them, and zeroing a huge page for that takes a
/// sixth of the time until the guest's first output. Linux guests keep nothing there that they use often.
pub(super) fn advise<B: Bitmap>(mapping: &MmapRegion<B>, start: u64) {
    let low = HUGE_PAGE.saturating_sub(usize::try_from(start).unwrap_or(HUGE_PAGE)).min(mapping.size());
    // SAFETY: both ranges are of this mapping, and the advice does not change its contents. If huge pages are disabled,
    // the calls fail without effect.
    unsafe {
        libc::madvise(mapping.as_ptr().cast(), low, libc::MADV_NOHUGEPAGE);
        libc::madvise(mapping.as_ptr().add(low).cast(), mapping.size() - low, libc::MADV_HUGEPAGE);
    }
}

/// Keeps a mapping in small pages, until [`advise`].
pub(super) fn refuse<B: Bitmap>(mapping: &MmapRegion<B>) {
    // SAFETY: the range is this mapping, and the advice does not change its contents. A kernel without huge pages refuses
    // it, where it is not needed.
    unsafe { libc::madvise(mapping.as_ptr().cast(), mapping.size(), libc::MADV_NOHUGEPAGE) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_mapping_is_aligned() {
        // Misaligns the next mapping by a page.
        let _offset = Placeholder::take(4096);
        let length = 8 * HUGE_PAGE;
        let placeholder = Placeholder::aligning(length);
        let mapping = Placeholder::take(length).unwrap();
        drop(placeholder);
        // Concurrent tests also map memory, so this retries a few times.
        let aligned = |mapping: &Placeholder| (mapping.address as usize).is_multiple_of(HUGE_PAGE);
        let again = || {
            let _placeholder = Placeholder::aligning(length);
            Placeholder::take(length).is_some_and(|mapping| aligned(&mapping))
        };
        assert!(aligned(&mapping) || (0..100).any(|_| again()));
    }
}
