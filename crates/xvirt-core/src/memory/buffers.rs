//! Buffers in guest memory that a request keeps mapped while it is in flight.

use std::sync::Arc;

use vm_memory::{GuestAddress, GuestMemoryBackend};

use super::{GuestRam, GuestSlice};

/// The capacity for pieces that is kept between requests.
const USUAL_PIECES: usize = 256;

/// Pieces of guest memory in order, which stay mapped as long as this exists.
///
/// Writes to them are not tracked: after a write by the host, the caller must call [`mark_dirty`](super::mark_dirty).
#[derive(Debug)]
pub(crate) struct GuestBuffers {
    memory: Arc<GuestRam>,
    pieces: Vec<libc::iovec>,
    length: u64,
}

// SAFETY: the pointers refer to a mapping that `memory` keeps, and only volatile accesses and system calls use them.
unsafe impl Send for GuestBuffers {}

impl GuestBuffers {
    /// An empty list of pieces of `memory`.
    pub(crate) fn new(memory: Arc<GuestRam>) -> Self {
        Self { memory, pieces: Vec::new(), length: 0 }
    }

    /// Removes all pieces.
    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
        self.pieces.shrink_to(USUAL_PIECES);
        self.length = 0;
    }

    /// Adds guest memory `[address, address + length)`; `None` if a part of it is not guest memory.
    pub(crate) fn append(&mut self, address: u64, length: u32) -> Option<()> {
        for slice in self.memory.get_slices(GuestAddress(address), length as usize) {
            let slice = slice.ok()?;
            if !slice.is_empty() {
                // The guard is a plain pointer, because vm-memory's on-demand mapping (for Xen) is not compiled in.
                let start = slice.ptr_guard_mut().as_ptr();
                self.pieces.push(libc::iovec { iov_base: start.cast(), iov_len: slice.len() });
                self.length += slice.len() as u64;
            }
        }
        Some(())
    }

    /// The total length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// The pieces for system calls; none is empty.
    pub(crate) fn pieces(&self) -> &[libc::iovec] {
        &self.pieces
    }

    /// The pieces for backends.
    pub(crate) fn slices(&self) -> Vec<GuestSlice<'_>> {
        let slice = |piece: &libc::iovec| {
            // SAFETY: `memory` keeps the mapping of the piece while `self` is borrowed. Guest memory is only accessed
            // through volatile accesses and system calls.
            unsafe { GuestSlice::new(piece.iov_base.cast(), piece.iov_len) }
        };
        self.pieces.iter().map(slice).collect()
    }
}

#[cfg(test)]
mod tests {
    use vm_memory::Bytes;

    use super::*;

    #[test]
    fn pieces_are_guest_memory_and_nothing_else() {
        let ranges = [(GuestAddress(0), 0x2000), (GuestAddress(0x2000), 0x2000)];
        let memory = Arc::new(GuestRam::from_ranges(&ranges).unwrap());
        memory.write_obj(0x1122_u16, GuestAddress(0x1fff)).unwrap();
        let mut buffers = GuestBuffers::new(memory.clone());
        buffers.append(0x1fff, 2).unwrap();
        buffers.append(0x10, 0).unwrap();
        assert_eq!((buffers.len(), buffers.pieces().len()), (2, 2));
        let mut byte = [0_u8];
        buffers.slices()[1].copy_to(&mut byte);
        assert_eq!(byte, [0x11]);
        assert_eq!(buffers.append(0x3fff, 2), None);
        buffers.clear();
        assert_eq!((buffers.len(), buffers.slices().len()), (0, 0));
    }
}
