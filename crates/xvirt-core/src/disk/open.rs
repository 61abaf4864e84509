//! Opening a disk.

use std::path::Path;
use std::sync::Arc;

use super::backend::BlockBackend;
use super::chain::{self, Image};
use super::descriptor::ImageDescriptor;
use super::file::ImageFile;
use super::format::ImageFormat;
use super::layer::{Layer, LayerKind};
use super::lock::Hold;
use super::raw::RawDisk;
use super::{probe, qcow2};
use crate::{Error, ErrorKind, Result};

/// How to open a disk: the access mode, and who else may open it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Access {
    /// Read and write, exclusively.
    ReadWrite,
    /// Read only, together with other readers.
    ReadOnly,
    /// Read and write, together with others that also open it as shared. For raw images whose guests coordinate their
    /// writes, as cluster file systems do.
    Shared,
}

/// Opens a disk image or block device and locks it, with its backing files, until the backend is dropped.
///
/// The locks exclude other openers in this process and in others, including QEMU and `qemu-img`: a writer excludes
/// everyone, and readers exclude writers. Backing files are only read.
///
/// Without `format`, the image is probed, which is a convenience for images from people. A guest controls the first
/// bytes of its raw disk, and could make it look like a qcow2 image whose backing file is a file of the host. Give the
/// format where you know it, above all for a raw disk that a guest has written to. Backing files are not probed this
/// way: an image must state the format of its backing file, or the file must be raw.
///
/// An untrusted image may name any file that this process can read as its backing file, and so show it to the guest.
/// [`inspect`](super::inspect) lists the backing files of an image.
///
/// A qcow2 image that a killed process or a power failure left inconsistent is repaired when it is opened for writing;
/// unflushed data may be lost.
///
/// A qcow2 image is opened for writing only if its tables and refcounts are consistent. Otherwise a guest could write
/// to the tables and make the image show any file of the host. The check reads all tables, 10 bytes per allocated
/// cluster: half a second for a terabyte in clusters of 64 KiB, if they are in the page cache.
///
/// The size of a raw image is rounded up to a multiple of 512 bytes, as in QEMU; the rest of the last sector reads as
/// zeroes until the guest writes it, which grows the file to the full sector.
///
/// # Errors
///
/// [`NotFound`](ErrorKind::NotFound), [`PermissionDenied`](ErrorKind::PermissionDenied), [`Busy`](ErrorKind::Busy) if
/// the image is locked, [`CorruptImage`](ErrorKind::CorruptImage), [`EncryptedImage`](ErrorKind::EncryptedImage),
/// [`UnsupportedImage`](ErrorKind::UnsupportedImage), [`InvalidConfig`](ErrorKind::InvalidConfig) if it is not a file
/// or block device. Errors about backing files name the file and the image that needs it.
pub fn open(path: impl AsRef<Path>, format: Option<ImageFormat>, access: Access) -> Result<Arc<dyn BlockBackend>> {
    Opening { image: Image::Path(path.as_ref(), format), access, direct: false }.open()
}

/// Opens a disk image on open files, and locks them like [`open`]. The first descriptor is that of the image, followed
/// by those of its backing files from the nearest to the deepest. The names of backing files in the images are ignored,
/// and no file is opened by its path. A format that an image records for its backing file must match the given one.
///
/// # Errors
///
/// As for [`open`]. [`InvalidConfig`](ErrorKind::InvalidConfig) also means that a descriptor does not meet the
/// requirements of [`ImageDescriptor`], that one is missing or superfluous, or that its format is not the one that the
/// image records.
pub fn open_descriptors(images: &[ImageDescriptor], access: Access) -> Result<Arc<dyn BlockBackend>> {
    Opening { image: Image::Descriptors(images), access, direct: false }.open()
}

/// Opens a disk image: which one, and how. All disk images of VMs are opened by this.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening<'a> {
    pub(crate) image: Image<'a>,
    pub(crate) access: Access,
    /// Whether its data goes past the page cache.
    pub(crate) direct: bool,
}

impl Opening<'_> {
    /// See [`open`].
    pub(crate) fn open(&self) -> Result<Arc<dyn BlockBackend>> {
        let layers = match self.access {
            Access::ReadWrite => open_to_write(self.image)?,
            Access::ReadOnly => chain::open(self.image, Some(Hold::Read))?,
            Access::Shared => chain::open(self.image, Some(Hold::Shared))?,
        };
        if self.direct {
            layers.iter().try_for_each(Layer::go_direct)?;
        }
        backend(layers, self.access)
    }

    /// Opens it for reading without a lock, for a caller that ensures that no one writes.
    pub(super) fn open_unlocked(path: &Path, format: ImageFormat) -> Result<Arc<dyn BlockBackend>> {
        backend(chain::open(Image::Path(path, Some(format)), None)?, Access::ReadOnly)
    }
}

/// Opens the files of an image exclusively, and repairs it if its last writer did not close it.
pub(super) fn open_to_write(image: Image<'_>) -> Result<Vec<Layer>> {
    let mut layers = chain::open(image, Some(Hold::Exclusive))?;
    if let Some(Layer { file, kind: LayerKind::Qcow2(header) }) = layers.first_mut()
        && header.dirty
    {
        qcow2::repair(file, header)?;
        *header = probe::header(file)?;
    }
    Ok(layers)
}

/// An exclusive lock on one image file, until it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    _file: ImageFile,
}

/// Locks an image file without reading it, so that no one uses it while it is moved or removed.
pub(crate) fn claim(path: &Path) -> Result<Claim> {
    let file = ImageFile::open(path, true)?;
    file.lock(Hold::Exclusive)?;
    Ok(Claim { _file: file })
}

fn backend(layers: Vec<Layer>, access: Access) -> Result<Arc<dyn BlockBackend>> {
    let read_only = access == Access::ReadOnly;
    let path = layers.first().map(|layer| layer.file.path().to_owned()).unwrap_or_default();
    let mut layers = layers.into_iter();
    let disk: Arc<dyn BlockBackend> = match layers.next() {
        Some(Layer { file, kind: LayerKind::Raw }) => Arc::new(RawDisk::new(file, read_only)?),
        Some(Layer { file, kind: LayerKind::Qcow2(_) }) if access == Access::Shared => {
            let what = format!("disk image {} cannot be shared, because it is a qcow2 image", file.path().display());
            return Err(Error::new(ErrorKind::UnsupportedImage, what)
                .with_remedy("convert it: qemu-img convert -O raw OLD NEW"));
        }
        Some(Layer { file, kind: LayerKind::Qcow2(header) }) => {
            qcow2::open(file, &header, layers.collect(), read_only)?
        }
        None => return Err(Error::new(ErrorKind::InvalidConfig, "a disk needs an image")),
    };
    // A disk smaller than a sector is unusable as well.
    if disk.capacity() == 0 {
        return Err(Error::new(ErrorKind::CorruptImage, format!("disk image {} is empty", path.display()))
            .with_remedy("check that it was copied completely, or create a new one with a size"));
    }
    Ok(disk)
}
