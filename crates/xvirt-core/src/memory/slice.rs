//! A piece of memory for backends to read into and write from.

use std::fmt;

use vm_memory::VolatileSlice;

/// A piece of memory to read into or to write from. It is usually guest memory, which the guest may change at any
/// moment, so its bytes can be copied, but not referenced.
#[derive(Clone, Copy)]
pub struct GuestSlice<'a>(VolatileSlice<'a>);

impl<'a> GuestSlice<'a> {
    /// The `length` bytes of memory at `start`.
    ///
    /// # Safety
    /// The memory must stay mapped for `'a` without any reference to it; it may be read-only if it is only written
    /// from.
    pub(crate) unsafe fn new(start: *mut u8, length: usize) -> Self {
        // SAFETY: guaranteed by the caller.
        Self(unsafe { VolatileSlice::new(start, length) })
    }

    /// The length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the length is zero.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Copies as many of `bytes` as fit to its start.
    pub fn copy_from(&self, bytes: &[u8]) {
        self.0.copy_from(bytes);
    }

    /// Copies its start to `bytes`, as far as both reach, and returns the number of bytes copied.
    pub fn copy_to(&self, bytes: &mut [u8]) -> usize {
        self.0.copy_to(bytes)
    }

    /// Whether all its bytes are zero. The guest may change them meanwhile.
    pub(crate) fn is_zero(&self) -> bool {
        static ZEROES: [u8; 4096] = [0; 4096];
        (0..self.len()).step_by(ZEROES.len()).all(|start| {
            let length = ZEROES.len().min(self.len() - start);
            // SAFETY: both ranges are mapped for `length` bytes. The C library reads them, so that nothing is assumed
            // about bytes that the guest changes; it only makes the answer that of one moment or another.
            unsafe { libc::memcmp(self.as_mut_ptr().add(start).cast(), ZEROES.as_ptr().cast(), length) == 0 }
        })
    }

    /// The `length` bytes from `start`; `None` if that exceeds its end.
    pub fn part(&self, start: usize, length: usize) -> Option<Self> {
        self.0.subslice(start, length).ok().map(Self)
    }

    /// The vm-memory type, for other libraries.
    #[cfg(feature = "qcow2")]
    pub(crate) fn volatile(&self) -> VolatileSlice<'a> {
        self.0
    }

    /// The address in this process, for system calls.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        // The guard is a plain pointer, because vm-memory's on-demand mapping (for Xen) is not compiled in.
        self.0.ptr_guard_mut().as_ptr()
    }
}

impl<'a> From<&'a mut [u8]> for GuestSlice<'a> {
    fn from(bytes: &'a mut [u8]) -> Self {
        Self(VolatileSlice::from(bytes))
    }
}

impl fmt::Debug for GuestSlice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of guest memory", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_anywhere_is_not_zero() {
        for length in [1, 63, 4096, 10_000] {
            let mut bytes = vec![0; length];
            assert!(GuestSlice::from(&mut bytes[..]).is_zero());
            for at in [0, length / 2, length - 1] {
                bytes[at] = 0x80;
                assert!(!GuestSlice::from(&mut bytes[..]).is_zero(), "{at} of {length}");
                bytes[at] = 0;
            }
        }
    }
}
