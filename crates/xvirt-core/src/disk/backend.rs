//! The interface between a block device and its storage.

use std::fmt;
use std::io;
use std::ops::Range;

use crate::memory::GuestSlice;

use super::place::Place;

/// The storage behind a disk.
///
/// Offsets and lengths are in bytes. A device only asks for ranges inside [`capacity`](Self::capacity). All methods may
/// be called from several threads at once. A failed call leaves the contents of the range undefined, and nothing else.
/// Buffers are pieces of guest memory, which the guest may change at any moment.
///
/// No call of a method can be interrupted. Until it returns, everything waits that needs the device to be idle, such as
/// pausing the VM and shutting it down, also beyond its own time limit.
pub trait BlockBackend: Send + Sync + fmt::Debug {
    /// Size of the disk in bytes, a multiple of 512.
    fn capacity(&self) -> u64;

    /// Whether writes are refused.
    fn read_only(&self) -> bool;

    /// The physical block size in bytes: a power of two, at least 512. Ranges of 512 bytes work, but are slower, and a
    /// crash during a partial write may damage the rest of the block. The guest is told the size and aligns its
    /// requests where it can.
    fn block_size(&self) -> u32 {
        512
    }

    /// Fills `buffers`, in order, from `offset` on.
    fn read(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()>;

    /// Writes `buffers`, in order, from `offset` on.
    fn write(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()>;

    /// Returns when everything written before is on stable storage.
    fn flush(&self) -> io::Result<()>;

    /// Flushes, and also writes whatever would otherwise be written when the backend is dropped. Without a write in
    /// between, dropping it then changes nothing.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    fn flush_to_close(&self) -> io::Result<()> {
        self.flush()
    }

    /// Discards a range that is no longer needed. It then reads as its old contents or as zeroes.
    fn discard(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Zeroes a range. With `unmap`, its space may be released to the host.
    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()>;

    /// The location of a range of the disk in a file, if plain reads (with `write`, plain writes) there are all that a
    /// request needs. The caller may access the file there without this backend until it drops the place.
    ///
    /// This must not wait for another request; return `None` if the location is not known at once. A backend that wraps
    /// another may pass on its places if it adds nothing of its own.
    fn place(&self, offset: u64, length: u64, write: bool) -> Option<Place> {
        let _ = (offset, length, write);
        None
    }

    /// The first range at or after `offset` that may hold anything but zeroes; none if the rest reads as zeroes.
    ///
    /// Readers of whole disks use this to skip holes. A backend that does not know its holes reports everything as
    /// data.
    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        Ok((offset < self.capacity()).then(|| offset..self.capacity()))
    }

    /// Grows the disk to `size` bytes. The new part reads as zeroes. Returns when the new size is on stable storage. A
    /// backend that cannot grow fails with [`Unsupported`](io::ErrorKind::Unsupported).
    fn grow(&self, size: u64) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, format!("it cannot get {size} bytes while it is in use")))
    }
}

/// The error for a change of a read-only disk.
pub(crate) fn read_only() -> io::Error {
    io::Error::from_raw_os_error(libc::EROFS)
}
