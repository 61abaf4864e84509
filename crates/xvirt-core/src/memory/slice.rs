//! A piece of memory that backends read into and write from.

use std::fmt;

use vm_memory::VolatileSlice;

/// A piece of memory to read into or to write from. It is guest memory as a rule, which the guest may change at any moment:
/// so its bytes can be copied, and nothing can refer to them.
#[derive(Clone, Copy)]
pub struct GuestSlice<'a>(VolatileSlice<'a>);

impl<'a> GuestSlice<'a> {
    /// The memory of `length` bytes at `start`.
    ///
    /// # Safety
    /// It must stay mapped for `'a`, and nothing may refer to it meanwhile; if it is only written from, it may be read-only.
    pub(crate) unsafe fn new(start: *mut u8, length: usize) -> Self {
        // SAFETY: as the caller promises.
        Self(unsafe { VolatileSlice::new(start, length) })
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Copies `bytes` to its beginning, as many as have room in it.
    pub fn copy_from(&self, bytes: &[u8]) {
        self.0.copy_from(bytes);
    }

    /// Copies its beginning to `bytes`, as many as both have, and gives how many those are.
    pub fn copy_to(&self, bytes: &mut [u8]) -> usize {
        self.0.copy_to(bytes)
    }

    /// Its `length` bytes from `start` on; `None` if it has fewer.
    pub fn part(&self, start: usize, length: usize) -> Option<Self> {
        self.0.subslice(start, length).ok().map(Self)
    }

    /// For libraries that take vm-memory's.
    #[cfg(feature = "qcow2")]
    pub(crate) fn volatile(&self) -> VolatileSlice<'a> {
        self.0
    }

    /// Where it is in this process, for system calls.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        // The guard is a plain pointer: vm-memory's mapping on demand (for Xen) is not compiled in.
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
