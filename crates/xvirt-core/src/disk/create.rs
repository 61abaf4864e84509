//! Making images and making them bigger.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::file::{ImageFile, cannot};
use super::format::ImageFormat;
use super::layer::LayerKind;
use super::lock::Hold;
use super::open::open_to_write;
use super::qcow2;
use crate::{Error, ErrorKind, Result};

const SECTOR: u64 = 512;

/// Makes a new, empty disk of `size` bytes, which reads as zeroes and takes almost no space yet.
///
/// The file may be read and written by its owner only. When this returns, the image is on stable storage.
///
/// # Errors
///
/// [`AlreadyExists`](ErrorKind::AlreadyExists) if there is something at `path`, which is left alone;
/// [`InvalidConfig`](ErrorKind::InvalidConfig) if `size` is zero or not a multiple of 512;
/// [`NotFound`](ErrorKind::NotFound) if the directory does not exist. A failure leaves no file behind.
pub fn create(path: impl AsRef<Path>, format: ImageFormat, size: u64) -> Result<()> {
    let path = path.as_ref();
    check_size(path, size)?;
    make(path, |file| match format {
        ImageFormat::Raw => file.as_file().set_len(size).map_err(|error| cannot("create", path, error)),
        ImageFormat::Qcow2 => qcow2::create(file, size, None),
    })
}

/// Makes a new raw disk of these bytes, as [`create`] makes an empty one.
pub(crate) fn create_with(path: &Path, bytes: &[u8]) -> Result<()> {
    make(path, |file| file.as_file().write_all_at(bytes, 0).map_err(|error| cannot("write", path, error)))
}

/// Makes the disk in an image bigger; its new part reads as zeroes.
///
/// `size` is in bytes. The guest sees the new size the next time it starts. When this returns, the new size is on
/// stable storage.
///
/// # Errors
///
/// [`Busy`](ErrorKind::Busy) while somebody has the image open; [`InvalidConfig`](ErrorKind::InvalidConfig) if `size`
/// is smaller than the disk is, because that would destroy data, or not a multiple of 512, or if it is a block device;
/// otherwise as [`open`](super::open).
pub fn grow(path: impl AsRef<Path>, format: Option<ImageFormat>, size: u64) -> Result<()> {
    let path = path.as_ref();
    check_size(path, size)?;
    let mut layers = open_to_write(path, format)?.into_iter();
    let Some(top) = layers.next() else { return Ok(()) };
    if top.file.is_block_device() {
        return Err(Error::new(ErrorKind::InvalidConfig, format!("cannot grow block device {}", path.display()))
            .remedy("grow it with the tools of its volume manager"));
    }
    let old = match &top.kind {
        LayerKind::Raw => top.file.len().map_err(|error| cannot("measure", path, error))?,
        LayerKind::Qcow2(header) => header.size,
    };
    if size < old {
        let what = format!("cannot shrink disk image {} from {old} to {size} bytes", path.display());
        return Err(Error::new(ErrorKind::InvalidConfig, what)
            .remedy("create a smaller disk and copy the files inside the guest"));
    }
    match &top.kind {
        LayerKind::Raw => top.file.as_file().set_len(size).map_err(|error| cannot("grow", path, error))?,
        LayerKind::Qcow2(header) => qcow2::grow(&top.file, header, layers.collect(), size)?,
    }
    top.file.as_file().sync_all().map_err(|error| cannot("grow", path, error))
}

fn check_size(path: &Path, size: u64) -> Result<()> {
    if size > 0 && size.is_multiple_of(SECTOR) {
        return Ok(());
    }
    let what = format!("a disk of {size} bytes is impossible for {}", path.display());
    Err(Error::new(ErrorKind::InvalidConfig, what).remedy("give a size that is a multiple of 512 bytes"))
}

/// Makes a file, lets `fill` write it, and puts it on stable storage; a failure leaves no file behind.
pub(super) fn make(path: &Path, fill: impl FnOnce(&Arc<ImageFile>) -> Result<()>) -> Result<()> {
    let file = Arc::new(ImageFile::create(path)?);
    let made = file
        .lock(Hold::Exclusive)
        .and_then(|()| fill(&file))
        .and_then(|()| settle(&file).map_err(|error| cannot("create", path, error)));
    made.inspect_err(|_| {
        // The error that is reported matters more than that a piece stays.
        let _ = fs::remove_file(path);
    })
}

/// Puts a new file on stable storage, and its name.
fn settle(file: &ImageFile) -> io::Result<()> {
    file.as_file().sync_all()?;
    sync_folder(file.path())
}

/// Puts the name of a file on stable storage.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
