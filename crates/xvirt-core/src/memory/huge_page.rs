//! Guest memory in transparent huge pages, which make page faults and address translation several times cheaper.
//!
//! KVM can map a huge page of the host as one of the guest only where both addresses have the same offset in it. Guest
//! memory begins at a multiple of 2 MiB, so its mapping should too. Linux sees to that since 6.7; for older kernels a
//! placeholder takes up the room that would put the mapping off. Another thread that maps at the same moment may undo
//! it, which costs speed and nothing else.

use std::ffi::c_void;
use std::ptr;

use vm_memory::MmapRegion;
use vm_memory::bitmap::Bitmap;

const HUGE_PAGE: usize = 2 << 20;

/// Address space that is taken until this is dropped.
pub(super) struct Placeholder {
    address: *mut c_void,
    length: usize,
}

impl Placeholder {
    /// A placeholder after which the next mapping of `length` bytes begins at a multiple of 2 MiB; none is needed where
    /// it would anyway.
    pub(super) fn aligning(length: usize) -> Option<Self> {
        let trial = Self::take(length)?;
        let excess = trial.address as usize % HUGE_PAGE;
        drop(trial);
        // Linux fills address space from the top: what is taken first pushes the next mapping down.
        if excess == 0 { None } else { Self::take(excess) }
    }

    fn take(length: usize) -> Option<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let address = unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_NONE, flags, -1, 0) };
        (address != libc::MAP_FAILED).then_some(Self { address, length })
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `take` made, which nobody else knows.
        unsafe { libc::munmap(self.address, self.length) };
    }
}

/// Asks for huge pages, where the host gives them to those who ask.
pub(super) fn advise<B: Bitmap>(mapping: &MmapRegion<B>) {
    // SAFETY: the range is this mapping, and the advice does not change its contents. Where huge pages are switched
    // off the call fails, and memory is as it was.
    unsafe { libc::madvise(mapping.as_ptr().cast(), mapping.size(), libc::MADV_HUGEPAGE) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_mapping_is_aligned() {
        // Something that puts the next mapping off by a page.
        let _offset = Placeholder::take(4096);
        let length = 8 * HUGE_PAGE;
        let placeholder = Placeholder::aligning(length);
        let mapping = Placeholder::take(length).unwrap();
        drop(placeholder);
        // Other tests map at the same time, so only the common case can be asked for: try a few times.
        let aligned = |mapping: &Placeholder| (mapping.address as usize).is_multiple_of(HUGE_PAGE);
        let again = || {
            let _placeholder = Placeholder::aligning(length);
            Placeholder::take(length).is_some_and(|mapping| aligned(&mapping))
        };
        assert!(aligned(&mapping) || (0..100).any(|_| again()));
    }
}
