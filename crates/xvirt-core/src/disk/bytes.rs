//! Reads and writes disks with memory of this process instead of guest memory.

use std::io;

use crate::memory::GuestSlice;

use super::backend::BlockBackend;

/// Fills `bytes` from `offset` of a disk.
pub(crate) fn read_bytes(disk: &dyn BlockBackend, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    disk.read(&[GuestSlice::from(bytes)], offset)
}

/// Writes pieces in order, starting at `offset` of a disk. For the images of this crate only, not for backends of
/// embedders.
pub(crate) fn write_bytes<'a>(
    disk: &dyn BlockBackend,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    offset: u64,
) -> io::Result<()> {
    let slice = |piece: &[u8]| {
        // SAFETY: the memory is valid for the duration of the call, and the images of this crate only read from the
        // buffers of a write, so the slice's right to modify it is never used.
        unsafe { GuestSlice::new(piece.as_ptr().cast_mut(), piece.len()) }
    };
    let slices: Vec<_> = pieces.into_iter().map(slice).collect();
    disk.write(&slices, offset)
}

/// Whether bytes are all zeroes.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<64>();
    words.iter().all(|word| *word == [0; 64]) && rest.iter().all(|byte| *byte == 0)
}
