//! The contract between a block device and what holds its bytes.

use std::fmt;
use std::io;
use std::ops::Range;

use crate::memory::GuestSlice;

use super::place::Place;

/// Where the bytes of a disk are kept.
///
/// Offsets and lengths are in bytes. A device only asks for ranges inside [`capacity`](Self::capacity). All methods may
/// be called from several threads at once. A failed call leaves the contents of the range undefined, and nothing else.
/// Buffers are pieces of guest memory, which the guest may change at any moment.
pub trait BlockBackend: Send + Sync + fmt::Debug {
    /// Size of the disk in bytes, a multiple of 512.
    fn capacity(&self) -> u64;

    /// Whether writes are refused.
    fn read_only(&self) -> bool;

    /// The block that its storage writes at once, in bytes: a power of two, and at least 512. Everything works for
    /// ranges of 512 bytes, but takes longer, and a crash may damage the rest of a block of which a part is written. The
    /// guest is told, and keeps to it where it can.
    fn block_size(&self) -> u32 {
        512
    }

    /// Fills `buffers`, in order, from `offset` on.
    fn read(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()>;

    /// Writes `buffers`, in order, from `offset` on.
    fn write(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()>;

    /// Returns when everything written before is on stable storage.
    fn flush(&self) -> io::Result<()>;

    /// Tells that a range is not needed any more; it may read as anything that it held before, or as zeroes.
    fn discard(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Makes a range read as zeroes; where `unmap` is set its space may be given back.
    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()>;

    /// Where in a file a range of the disk lies, if to read it (to write it, with `write`) at that place is all there is
    /// to do. Whoever has the place may do so at any time without this backend, until the place is dropped.
    ///
    /// This must not wait for another request: a place that is not known at once is not known. A backend that wraps
    /// another may answer what that one does, where it adds nothing of its own.
    fn place(&self, offset: u64, length: u64, write: bool) -> Option<Place> {
        let _ = (offset, length, write);
        None
    }

    /// The first range at or after `offset` that may hold anything but zeroes; none if the rest reads as zeroes.
    ///
    /// Who reads a whole disk skips holes by this. A backend that does not know its holes says that all is data.
    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        Ok((offset < self.capacity()).then(|| offset..self.capacity()))
    }

    /// Makes the disk `size` bytes big, which is more than it is; the new part reads as zeroes. Returns when that is on
    /// stable storage. A backend that cannot grow says so, as [`Unsupported`](io::ErrorKind::Unsupported).
    fn grow(&self, size: u64) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, format!("it cannot get {size} bytes while it is in use")))
    }
}
