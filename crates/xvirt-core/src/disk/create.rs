//! Creates images and grows them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::chain::Image;
use super::file::{ImageFile, cannot};
use super::format::ImageFormat;
use super::header::{CLUSTER, MAX_L1_BYTES};
use super::layer::LayerKind;
use super::lock::Hold;
use super::open::open_to_write;
use super::qcow2;
use crate::{Error, ErrorKind, Result};

const SECTOR: u64 = 512;
/// The size of the largest possible file (`off_t`), in whole sectors.
const MAX_RAW_SIZE: u64 = i64::MAX as u64 / SECTOR * SECTOR;

/// Creates an empty disk of `size` bytes. It reads as zeroes and takes almost no space yet.
///
/// Only the file's owner may read and write it. When this returns, the image is on stable storage.
///
/// # Errors
///
/// [`AlreadyExists`](ErrorKind::AlreadyExists) if `path` exists, which is then unchanged;
/// [`InvalidConfig`](ErrorKind::InvalidConfig) if `size` is zero, not a multiple of 512 or more than 8 EiB - 512 bytes,
/// for qcow2 2 PiB; [`NotFound`](ErrorKind::NotFound) if the directory does not exist. A failure leaves no file behind.
pub fn create(path: impl AsRef<Path>, format: ImageFormat, size: u64) -> Result<()> {
    let path = path.as_ref();
    check_size(path, size)?;
    check_largest(path, size, if format == ImageFormat::Raw { MAX_RAW_SIZE } else { largest_qcow2(CLUSTER) })?;
    make(path, |file| match format {
        ImageFormat::Raw => file.as_file().set_len(size).map_err(|error| too_large("create", path, error)),
        ImageFormat::Qcow2 => qcow2::create(file, size, None),
    })
}

/// Creates a raw disk with these bytes. Otherwise like [`create`].
pub(crate) fn create_with(path: &Path, bytes: &[u8]) -> Result<()> {
    make(path, |file| file.as_file().write_all_at(bytes, 0).map_err(|error| cannot("write", path, error)))
}

/// Grows the disk in an image. The new part reads as zeroes.
///
/// `size` is in bytes. The guest sees the new size the next time it starts. When this returns, the new size is on
/// stable storage.
///
/// # Errors
///
/// [`Busy`](ErrorKind::Busy) if the image is open elsewhere; [`InvalidConfig`](ErrorKind::InvalidConfig) if `size`
/// is smaller than the disk is, because that would destroy data, or not a multiple of 512, or if it is a block device;
/// otherwise as [`open`](super::open).
pub fn grow(path: impl AsRef<Path>, format: Option<ImageFormat>, size: u64) -> Result<()> {
    let path = path.as_ref();
    check_size(path, size)?;
    let mut layers = open_to_write(Image::Path(path, format))?.into_iter();
    let Some(top) = layers.next() else { return Ok(()) };
    if top.file.is_block_device() {
        return Err(Error::new(ErrorKind::InvalidConfig, format!("cannot grow block device {}", path.display()))
            .with_remedy("grow it with the tools of its volume manager"));
    }
    let old = match &top.kind {
        LayerKind::Raw => top.file.len().map_err(|error| cannot("measure", path, error))?,
        LayerKind::Qcow2(header) => header.size,
    };
    if size < old {
        let what = format!("cannot shrink disk image {} from {old} to {size} bytes", path.display());
        return Err(Error::new(ErrorKind::InvalidConfig, what)
            .with_remedy("create a smaller disk and copy the files inside the guest"));
    }
    check_largest(
        path,
        size,
        match &top.kind {
            LayerKind::Raw => MAX_RAW_SIZE,
            LayerKind::Qcow2(header) => largest_qcow2(header.cluster_size),
        },
    )?;
    match &top.kind {
        LayerKind::Raw => top.file.as_file().set_len(size).map_err(|error| too_large("grow", path, error))?,
        LayerKind::Qcow2(header) => qcow2::grow(&top.file, header, layers.collect(), size)?,
    }
    top.file.as_file().sync_all().map_err(|error| cannot("grow", path, error))
}

fn check_size(path: &Path, size: u64) -> Result<()> {
    if size > 0 && size.is_multiple_of(SECTOR) {
        return Ok(());
    }
    let what = format!("a disk of {size} bytes is not possible for {}", path.display());
    Err(Error::new(ErrorKind::InvalidConfig, what).with_remedy("use a size that is a multiple of 512 bytes"))
}

fn check_largest(path: &Path, size: u64, largest: u64) -> Result<()> {
    if size <= largest {
        return Ok(());
    }
    let what = format!("a disk of {size} bytes is too large for {}", path.display());
    Err(Error::new(ErrorKind::InvalidConfig, what).with_remedy(format!("use at most {largest} bytes")))
}

/// The largest disk in a qcow2 image with clusters of this size: the maximum number of L1 entries, each with a full L2
/// table.
fn largest_qcow2(cluster: u64) -> u64 {
    (MAX_L1_BYTES / 8).saturating_mul(cluster / 8).saturating_mul(cluster)
}

/// The error for resizing a file.
fn too_large(verb: &str, path: &Path, error: io::Error) -> Error {
    let too_large = error.kind() == io::ErrorKind::FileTooLarge;
    let error = cannot(verb, path, error);
    match too_large {
        true => {
            error.with_remedy("use qcow2, whose files grow with what is written, or a file system with larger files")
        }
        false => error,
    }
}

/// Creates a file, fills it with `fill`, and puts it on stable storage; on failure no file is left behind.
pub(super) fn make(path: &Path, fill: impl FnOnce(&Arc<ImageFile>) -> Result<()>) -> Result<()> {
    let file = Arc::new(ImageFile::create(path)?);
    let made = file
        .lock(Hold::Exclusive)
        .and_then(|()| fill(&file))
        .and_then(|()| settle(&file).map_err(|error| cannot("create", path, error)));
    made.inspect_err(|_| {
        // The reported error matters more than a leftover file.
        let _ = fs::remove_file(path);
    })
}

/// Puts a new file and its directory entry on stable storage.
fn settle(file: &ImageFile) -> io::Result<()> {
    file.as_file().sync_all()?;
    sync_folder(file.path())
}

/// Puts the directory entry of a file on stable storage.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
