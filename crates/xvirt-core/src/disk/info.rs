//! Inspects an image without opening it as a disk.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::chain::{self, Image};
use super::file::ImageFile;
use super::format::ImageFormat;
use super::layer::{Layer, LayerKind};
use super::lock::Hold;
use super::{probe, qcow2};
use crate::{Error, ErrorKind, Result};

/// Properties of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ImageInfo {
    /// The format of the image.
    pub format: ImageFormat,
    /// Size of the disk in bytes, as a guest sees it.
    pub virtual_size: u64,
    /// Bytes allocated on the host's disk for the image file, without its backing files. Holes take none.
    pub allocated: u64,
    /// Its backing files, from the nearest to the deepest.
    pub backing: Vec<BackingFile>,
}

/// A backing file of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BackingFile {
    /// The path; relative if the inspected path is.
    pub path: PathBuf,
    /// The format.
    pub format: ImageFormat,
}

/// Inspects an image. Takes no locks, so the image may be in use; changes that a VM makes meanwhile may be missing.
///
/// # Errors
///
/// As [`open`](super::open), but never [`Busy`](crate::ErrorKind::Busy).
pub fn inspect(path: impl AsRef<Path>, format: Option<ImageFormat>) -> Result<ImageInfo> {
    let path = path.as_ref();
    let layers = chain::open(Image::Path(path, format), None)?;
    let cannot = |error| Error::io(format!("cannot measure disk image {}", path.display()), error);
    let mut info = ImageInfo { format: ImageFormat::Raw, virtual_size: 0, allocated: 0, backing: Vec::new() };
    for (depth, layer) in layers.iter().enumerate() {
        if depth > 0 {
            info.backing.push(BackingFile { path: layer.file.path().to_owned(), format: layer.format() });
            continue;
        }
        info.format = layer.format();
        info.virtual_size = virtual_size(layer).map_err(cannot)?;
        info.allocated = layer.file.allocated().map_err(cannot)?;
    }
    Ok(info)
}

/// Whether a copy-on-write image has allocated data; images of other formats always have.
///
/// Takes no locks: the caller must ensure that no one writes.
pub(crate) fn has_own_data(path: &Path, format: ImageFormat) -> Result<bool> {
    let mut layers = chain::open(Image::Path(path, Some(format)), None)?.into_iter();
    match layers.next() {
        Some(Layer { file, kind: LayerKind::Qcow2(header) }) if header.backing.is_some() => {
            qcow2::has_own_data(file, &header, layers.collect())
        }
        _ => Ok(true),
    }
}

/// Rejects an image that could not be opened for writing because its tables are inconsistent.
///
/// An image that is being written was checked when it was opened, and a dirty image is repaired when it is opened, so
/// neither is checked.
pub(crate) fn check_tables(path: &Path, format: ImageFormat) -> Result<()> {
    if format != ImageFormat::Qcow2 {
        return Ok(());
    }
    let file = ImageFile::open(path, false)?;
    let check = || match probe::header(&file)? {
        header if header.dirty => Ok(()),
        header => qcow2::check(&file, &header),
    };
    // Checks without a lock first, because a lock would keep a VM from starting. Only a failure needs the lock, to tell
    // corruption from a concurrent change.
    if check().is_ok() {
        return Ok(());
    }
    match file.lock(Hold::Read) {
        Err(error) if error.kind() == ErrorKind::Busy => Ok(()),
        Err(error) => Err(error),
        Ok(()) => check(),
    }
}

/// The size of a layer's disk in bytes, as [`open`](super::open) presents it.
pub(super) fn virtual_size(layer: &Layer) -> std::io::Result<u64> {
    match &layer.kind {
        LayerKind::Raw => Ok(layer.file.len()?.next_multiple_of(512)),
        LayerKind::Qcow2(header) => Ok(header.size / 512 * 512),
    }
}
