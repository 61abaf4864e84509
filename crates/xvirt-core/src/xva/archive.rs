//! Uses the disks of an archive as backends.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use xvirt_xva::ova::Document;
use xvirt_xva::{Appliance, ArchiveDisk};

use crate::disk::{BlockBackend, read_only};
use crate::memory::GuestSlice;
use crate::named_file::open_file;
use crate::{ErrorKind, Result};

/// An archive with random access to its disks.
///
/// It must be a file that is uncompressed, or that [`export`](super::export) compressed with zstd. May be used from
/// several threads. The file must not change meanwhile.
#[derive(Debug)]
pub struct Archive {
    inner: xvirt_xva::Archive,
}

impl Archive {
    /// Opens an archive and locates its chunks without reading them.
    ///
    /// # Errors
    /// [`UnsupportedArchive`](ErrorKind::UnsupportedArchive) if the archive supports only sequential reading; or it is
    /// damaged, or cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = open_file(path, "archive")?;
        Ok(Self { inner: xvirt_xva::Archive::open(file, path.display().to_string())? })
    }

    /// The VM in it.
    pub fn appliance(&self) -> &Appliance {
        self.inner.appliance()
    }

    /// Its read-only disks, in the order of the appliance. Each chunk is checked when it is read; damage is an I/O
    /// error that names the member.
    pub fn disks(&self) -> Vec<Arc<dyn BlockBackend>> {
        self.inner.disks().iter().map(|disk| Arc::new(Backend(Arc::clone(disk))) as _).collect()
    }

    pub(super) fn document(&self) -> &Document {
        self.inner.document()
    }
}

/// A disk of an archive, read-only.
#[derive(Debug)]
struct Backend(Arc<ArchiveDisk>);

impl BlockBackend for Backend {
    fn capacity(&self) -> u64 {
        self.0.size().next_multiple_of(512).max(512)
    }

    fn read_only(&self) -> bool {
        true
    }

    fn read(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        let mut at = offset;
        for buffer in buffers {
            let mut bytes = vec![0_u8; buffer.len()];
            self.0.read_at(&mut bytes, at).map_err(as_io_error)?;
            buffer.copy_from(&bytes);
            at += bytes.len() as u64;
        }
        Ok(())
    }

    fn write(&self, _: &[GuestSlice<'_>], _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn write_zeroes(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        Err(read_only())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        Ok(self.0.next_data(offset))
    }
}

fn as_io_error(error: xvirt_xva::Error) -> io::Error {
    let error = crate::Error::from(error);
    let kind = match error.kind() {
        ErrorKind::CorruptArchive => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
