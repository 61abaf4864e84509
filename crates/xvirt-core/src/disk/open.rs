//! Opening a disk.

use std::path::Path;
use std::sync::Arc;

use super::backend::BlockBackend;
use super::chain;
use super::file::ImageFile;
use super::format::ImageFormat;
use super::layer::{Layer, LayerKind};
use super::lock::Hold;
use super::raw::RawDisk;
use super::{probe, qcow2};
use crate::{Error, ErrorKind, Result};

/// How a disk is opened: what the opener may do, and who else may have the disk open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Access {
    /// Read and write, with nobody else on it.
    ReadWrite,
    /// Read only, together with other readers.
    ReadOnly,
    /// Read and write, together with others who also open it as shared. For raw images whose guests coordinate their
    /// writing themselves, as cluster file systems do.
    Shared,
}

/// Opens a disk image or block device and locks it, with everything it is based on, until the backend is dropped.
///
/// The lock keeps out other openers in this process and in others, QEMU and `qemu-img` among them: a writer excludes
/// everybody, readers exclude writers. What the image is based on is only read.
///
/// Without `format` the image is probed. That is a convenience for images that come from people: a guest decides what
/// its raw disk begins with, and could make it pose as a qcow2 image that is based on a file of the host. Give the
/// format where you know it, above all for a raw disk that a guest has written to. Backing files are never probed so:
/// an image must say the format of its backing file, or it is taken as raw.
///
/// An image from a stranger may be based on any file that this process can read, and so show it to the guest:
/// [`inspect`](super::inspect) lists what an image is based on.
///
/// A qcow2 image that a killed process or a power failure left half-written is repaired when it is opened for writing;
/// what was not flushed may be lost.
///
/// A qcow2 image is opened for writing only if its tables and refcounts do not contradict each other. Otherwise a guest could
/// write to the tables and make the image show any file of the host. The check reads all tables, 10 bytes per cluster in
/// use: half a second for a terabyte in clusters of 64 KiB, if they are in the page cache.
///
/// A raw image whose size is not a multiple of 512 bytes is rounded up, as QEMU does; the rest of the last sector reads
/// as zeroes until the guest writes it, which makes the file grow to the full sector.
///
/// # Errors
///
/// [`NotFound`](ErrorKind::NotFound), [`PermissionDenied`](ErrorKind::PermissionDenied), [`Busy`](ErrorKind::Busy) if
/// somebody holds it, [`CorruptImage`](ErrorKind::CorruptImage), [`EncryptedImage`](ErrorKind::EncryptedImage),
/// [`UnsupportedImage`](ErrorKind::UnsupportedImage), [`InvalidConfig`](ErrorKind::InvalidConfig) for what is no file.
/// Errors about backing files name the file and the image that needs it.
pub fn open(path: impl AsRef<Path>, format: Option<ImageFormat>, access: Access) -> Result<Arc<dyn BlockBackend>> {
    open_as(path.as_ref(), format, access, false)
}

/// As [`open`], and with `direct` past the page cache.
pub(crate) fn open_as(
    path: &Path,
    format: Option<ImageFormat>,
    access: Access,
    direct: bool,
) -> Result<Arc<dyn BlockBackend>> {
    let layers = match access {
        Access::ReadWrite => open_to_write(path, format)?,
        Access::ReadOnly => chain::open(path, format, Some(Hold::Read))?,
        Access::Shared => chain::open(path, format, Some(Hold::Shared))?,
    };
    if direct {
        layers.iter().try_for_each(Layer::go_direct)?;
    }
    backend(layers, access)
}

/// Opens the files of an image that nobody else may use meanwhile, and repairs it if its last writer did not close it.
pub(super) fn open_to_write(path: &Path, format: Option<ImageFormat>) -> Result<Vec<Layer>> {
    let mut layers = chain::open(path, format, Some(Hold::Exclusive))?;
    if let Some(Layer { file, kind: LayerKind::Qcow2(header) }) = layers.first_mut()
        && header.dirty
    {
        qcow2::repair(file, header)?;
        *header = probe::header(file)?;
    }
    Ok(layers)
}

/// The lock of one image file, with nobody else on it, until it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    _file: ImageFile,
}

/// Locks an image file without looking into it, so that nobody uses it while it is moved or removed.
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
    // Less than a sector is no disk either.
    if disk.capacity() == 0 {
        return Err(Error::new(ErrorKind::CorruptImage, format!("disk image {} is empty", path.display()))
            .with_remedy("check that it was copied completely, or create it anew with a size"));
    }
    Ok(disk)
}
