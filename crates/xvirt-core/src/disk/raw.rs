//! Raw images.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::backend::{BlockBackend, read_only};
use super::file::ImageFile;
use super::place::Place;
use super::segments::Segments;
use crate::memory::GuestSlice;
use crate::{Error, Result};

const SECTOR: u64 = 512;

/// A raw image. A partial last sector is padded with zeroes.
#[derive(Debug)]
pub(super) struct RawDisk {
    file: Arc<ImageFile>,
    /// The size of the file when it was opened or last grown.
    length: AtomicU64,
    read_only: bool,
}

impl RawDisk {
    pub(super) fn new(file: Arc<ImageFile>, read_only: bool) -> Result<Self> {
        let length =
            file.len().map_err(|error| Error::io(format!("cannot measure {}", file.path().display()), error))?;
        Ok(Self { file, length: AtomicU64::new(length), read_only })
    }

    fn length(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }

    fn writable(&self, offset: u64, length: u64) -> io::Result<()> {
        if self.read_only {
            return Err(read_only());
        }
        within(self.capacity(), offset, length)
    }
}

impl BlockBackend for RawDisk {
    fn capacity(&self) -> u64 {
        self.length().next_multiple_of(SECTOR)
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn block_size(&self) -> u32 {
        self.file.block_size()
    }

    fn read(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        let mut segments = Segments::of_guest(buffers);
        let length = segments.len();
        within(self.capacity(), offset, length)?;
        self.file.read(&mut segments, offset)?;
        if offset + length - segments.len() >= self.length() {
            segments.fill_with_zeroes();
        }
        if segments.is_empty() {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the image file has become shorter since it was opened"))
    }

    fn write(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        let mut segments = Segments::of_guest(buffers);
        self.writable(offset, segments.len())?;
        self.file.write(&mut segments, offset)
    }

    fn flush(&self) -> io::Result<()> {
        if self.read_only { Ok(()) } else { self.file.sync() }
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.writable(offset, length)?;
        self.file.punch(offset, length).map(|_| ())
    }

    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
        self.writable(offset, length)?;
        self.file.zero(offset, length, unmap)
    }

    fn place(&self, offset: u64, length: u64, write: bool) -> Option<Place> {
        let allowed = if write { self.writable(offset, length) } else { within(self.capacity(), offset, length) };
        allowed.ok().map(|()| Place::new(Arc::clone(&self.file), offset))
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.file.next_data(offset)
    }

    fn grow(&self, size: u64) -> io::Result<()> {
        if self.file.is_block_device() {
            // It may have been enlarged since it was opened.
            if self.file.len()? < size {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "a block device can only be grown by its volume manager",
                ));
            }
        } else {
            self.file.as_file().set_len(size)?;
            self.file.as_file().sync_all()?;
        }
        self.length.store(size, Ordering::Release);
        Ok(())
    }
}

/// Rejects a range that is not inside the disk.
pub(super) fn within(capacity: u64, offset: u64, length: u64) -> io::Result<()> {
    match offset.checked_add(length) {
        Some(end) if end <= capacity => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "the range is not inside the disk")),
    }
}
