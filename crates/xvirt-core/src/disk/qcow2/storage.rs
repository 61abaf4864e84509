//! Adapts image files to the qcow2 library.

use std::fmt;
use std::io;
use std::sync::Arc;

use imago::Storage;
use imago::io_buffers::{IoVector, IoVectorMut};
use imago::storage::PreallocateMode;
use imago::storage::drivers::CommonStorageHelper;

use super::metadata::Metadata;
use crate::disk::file::ImageFile;
use crate::disk::segments::Segments;

/// The smallest size of a whole table: a cluster has at least the size of a sector.
const SMALLEST_TABLE: u64 = 512;

/// A locked image file as the library's storage.
///
/// A writable image has two of them, so that writes of data are told from writes of metadata.
pub(super) struct ImageStorage {
    file: Arc<ImageFile>,
    /// How many bytes beyond the end of the file read as zeroes. Missing data beyond that is an error.
    slack: u64,
    purpose: Purpose,
    helper: CommonStorageHelper,
}

/// What is written through a storage.
enum Purpose {
    /// Anything: for a new image, or a read-only one.
    Any,
    Data(Arc<Metadata>),
    Metadata(Arc<Metadata>),
}

impl ImageStorage {
    pub(super) fn new(file: Arc<ImageFile>, slack: u64) -> Self {
        Self { file, slack, purpose: Purpose::Any, helper: CommonStorageHelper::default() }
    }

    /// For the data of a writable image.
    pub(super) fn of_data(file: Arc<ImageFile>, slack: u64, metadata: Arc<Metadata>) -> Self {
        Self { purpose: Purpose::Data(metadata), ..Self::new(file, slack) }
    }

    /// For the metadata of a writable image.
    pub(super) fn of_metadata(file: Arc<ImageFile>, slack: u64, metadata: Arc<Metadata>) -> Self {
        Self { purpose: Purpose::Metadata(metadata), ..Self::new(file, slack) }
    }

    /// Fails if data must not be written there.
    pub(super) fn may_write_data(&self, offset: u64, length: u64) -> io::Result<()> {
        match &self.purpose {
            Purpose::Any => Ok(()),
            Purpose::Data(metadata) => metadata.refuse_data(offset, length),
            Purpose::Metadata(_) => {
                Err(io::Error::other("guest data cannot be written through the storage of metadata"))
            }
        }
    }

    /// Writes data without the library.
    pub(super) fn write_data(&self, from: &mut Segments<'_>, offset: u64) -> io::Result<()> {
        self.may_write_data(offset, from.len())?;
        self.file.write(from, offset)
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
        // SAFETY: `bufv` is mutably borrowed memory and outlives this function.
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
        // SAFETY: `bufv` is borrowed memory that outlives this function, and it is only read.
        let mut segments = unsafe { Segments::of_iovecs(bufv.as_iovec()) };
        let Purpose::Metadata(metadata) = &self.purpose else { return self.write_data(&mut segments, offset) };
        let length = segments.len();
        if length >= SMALLEST_TABLE {
            return metadata.write(&self.file, offset, length, None, || self.file.write(&mut segments, offset));
        }
        // An entry of an L1 or refcount table, or the header. Its target must be on stable storage first, and the entry
        // must be before its old target is reused; otherwise a power failure breaks the image.
        let mut entry = vec![0; length as usize];
        bufv.copy_into_slice(&mut entry);
        metadata.write(&self.file, offset, length, Some(&entry), || {
            self.file.sync()?;
            self.file.write(&mut segments, offset)?;
            self.file.sync()
        })
    }

    unsafe fn pure_write_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        self.may_write_data(offset, length)?;
        // Beyond the end of the file there are zeroes already.
        let length = length.min(self.file.len()?.saturating_sub(offset));
        self.file.zero(offset, length, true)
    }

    unsafe fn pure_discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.may_write_data(offset, length)?;
        self.file.punch(offset, length).map(|_| ())
    }

    fn resize(&self, _: u64, _: PreallocateMode) -> io::Result<()> {
        match self.purpose {
            // The library syncs an external data file this way. Here the data is in the file of the metadata.
            Purpose::Data(_) => Ok(()),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
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
