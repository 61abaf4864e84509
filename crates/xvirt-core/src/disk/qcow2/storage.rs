//! Our image files in the form the qcow2 library wants them.

use std::fmt;
use std::io;
use std::sync::Arc;

use imago::Storage;
use imago::io_buffers::{IoVector, IoVectorMut};
use imago::storage::drivers::CommonStorageHelper;

use crate::disk::file::ImageFile;
use crate::disk::segments::Segments;

/// Guest data and whole tables have at least the size of a sector.
const SMALLEST_DATA: u64 = 512;

/// A locked image file as the library's storage.
pub(super) struct ImageStorage {
    file: Arc<ImageFile>,
    /// How far beyond the end of the file it may be read, which gives zeroes. More than that is data that got lost.
    slack: u64,
    helper: CommonStorageHelper,
}

impl ImageStorage {
    pub(super) fn new(file: Arc<ImageFile>, slack: u64) -> Self {
        Self { file, slack, helper: CommonStorageHelper::default() }
    }

    pub(super) fn file(&self) -> &Arc<ImageFile> {
        &self.file
    }
}

impl Storage for ImageStorage {
    fn size(&self) -> io::Result<u64> {
        self.file.len()
    }

    unsafe fn pure_readv(&self, bufv: IoVectorMut<'_>, offset: u64) -> io::Result<()> {
        // SAFETY: `bufv` is mutably borrowed memory and lives until the end of this function.
        let mut segments = unsafe { Segments::of_iovecs(bufv.as_iovec()) };
        let end = offset.saturating_add(segments.len());
        self.file.read(&mut segments, offset)?;
        if !segments.is_empty() {
            if end > self.file.len()?.saturating_add(self.slack) {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the image file is shorter than its contents",
                ));
            }
            segments.fill_with_zeroes();
        }
        Ok(())
    }

    unsafe fn pure_writev(&self, bufv: IoVector<'_>, offset: u64) -> io::Result<()> {
        // SAFETY: `bufv` is borrowed memory and lives until the end of this function, and is only read.
        let mut segments = unsafe { Segments::of_iovecs(bufv.as_iovec()) };
        if segments.len() >= SMALLEST_DATA {
            return self.file.write(&mut segments, offset);
        }
        // An entry of an L1 or refcount table, or the header. What it points to must be there before it, and it must be
        // there before what it pointed to until now is used for something else, or a power failure breaks the image.
        self.file.sync()?;
        self.file.write(&mut segments, offset)?;
        self.file.sync()
    }

    unsafe fn pure_write_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        // What is beyond the end of the file is zeroes already.
        let length = length.min(self.file.len()?.saturating_sub(offset));
        self.file.zero(offset, length, true)
    }

    unsafe fn pure_discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.file.punch(offset, length).map(|_| ())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    unsafe fn invalidate_cache(&self) -> io::Result<()> {
        Ok(())
    }

    fn get_storage_helper(&self) -> &CommonStorageHelper {
        &self.helper
    }
}

impl fmt::Debug for ImageStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

impl fmt::Display for ImageStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.path().display().fmt(f)
    }
}
