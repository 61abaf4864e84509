//! Looking at an image without opening it as a disk.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::chain;
use super::file::ImageFile;
use super::format::ImageFormat;
use super::layer::{Layer, LayerKind};
use super::lock::Hold;
use super::{probe, qcow2};
use crate::{Error, ErrorKind, Result};

/// What an image is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ImageInfo {
    /// How the image is laid out.
    pub format: ImageFormat,
    /// Size of the disk in bytes, as a guest sees it.
    pub virtual_size: u64,
    /// Bytes that the image file takes on the host's disk, without its backing files. Holes take none.
    pub allocated: u64,
    /// Its backing files, from the nearest to the deepest.
    pub backing: Vec<BackingFile>,
}

/// A backing file of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BackingFile {
    /// Where it is; relative if the path that was inspected is.
    pub path: PathBuf,
    /// How it is laid out.
    pub format: ImageFormat,
}

/// Inspects an image. Takes no locks, so the image may be in use; changes that a VM makes meanwhile may be missing.
///
/// # Errors
///
/// As [`open`](super::open), but never [`Busy`](crate::ErrorKind::Busy).
pub fn inspect(path: impl AsRef<Path>, format: Option<ImageFormat>) -> Result<ImageInfo> {
    let path = path.as_ref();
    let layers = chain::open(path, format, None)?;
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

/// Whether anything was ever written to a copy-on-write image; that of another kind always has data of its own.
///
/// Takes no locks: the caller sees to it that nobody writes.
pub(crate) fn has_own_data(path: &Path, format: ImageFormat) -> Result<bool> {
    let mut layers = chain::open(path, Some(format), None)?.into_iter();
    match layers.next() {
        Some(Layer { file, kind: LayerKind::Qcow2(header) }) if header.backing.is_some() => {
            qcow2::has_own_data(file, &header, layers.collect())
        }
        _ => Ok(true),
    }
}

/// Refuses an image that could not be opened for writing, because its tables contradict each other.
///
/// One that is written just now was checked when it was opened, and one that its writer could not close will be repaired
/// when it is opened, so neither is judged.
pub(crate) fn check_tables(path: &Path, format: ImageFormat) -> Result<()> {
    if format != ImageFormat::Qcow2 {
        return Ok(());
    }
    let file = ImageFile::open(path, false)?;
    let check = || match probe::header(&file)? {
        header if header.dirty => Ok(()),
        header => qcow2::check(&file, &header),
    };
    // Without a lock, which would keep a VM from starting, unless it has to be told from a table that just changes.
    if check().is_ok() {
        return Ok(());
    }
    match file.lock(Hold::Read) {
        Err(error) if error.kind() == ErrorKind::Busy => Ok(()),
        Err(error) => Err(error),
        Ok(()) => check(),
    }
}

/// Size in bytes of the disk in a layer, as [`open`](super::open) presents it.
pub(super) fn virtual_size(layer: &Layer) -> std::io::Result<u64> {
    match &layer.kind {
        LayerKind::Raw => Ok(layer.file.len()?.next_multiple_of(512)),
        LayerKind::Qcow2(header) => Ok(header.size / 512 * 512),
    }
}
