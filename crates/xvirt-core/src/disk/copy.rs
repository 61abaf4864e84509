//! Full copies of a disk, without backing files.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::backend::BlockBackend;
use super::bytes::is_zero;
use super::chain::{self, Image};
use super::create::{create, make};
use super::file::{ImageFile, cannot};
use super::format::ImageFormat;
use super::layer::LayerKind;
use super::open::{Access, open};
use super::overlay::clone;
use super::raw::RawDisk;
use super::scan::{BLOCK, scan};
use crate::Result;
use crate::memory::GuestSlice;
use crate::progress::{self, Progress};

/// Copies `disk` into a new image, with holes for zeroes.
///
/// If `image` names the file of the disk, the copy shares its blocks (reflink), provided that the file system supports
/// that and the image has no backing file. When this returns, the copy is on stable storage; on failure no file is left
/// behind.
pub(crate) fn copy(
    disk: &dyn BlockBackend,
    image: Option<(&Path, ImageFormat)>,
    target: &Path,
    format: ImageFormat,
    progress: &dyn Progress,
) -> Result<()> {
    progress::step(progress, 0, Some(disk.capacity()), "the copy")?;
    if let Some((path, _)) = image.filter(|image| image.1 == format)
        && share(path, format, target)?
    {
        return Ok(());
    }
    create(target, format, disk.capacity())?;
    fill(disk, target, format, progress).inspect_err(|_| {
        // The reported error matters more than a leftover file.
        let _ = fs::remove_file(target);
    })
}

/// Copies an image file byte for byte. The copy has the same backing file, and must be where it finds that by the same
/// name.
///
/// The copy shares the blocks, if the file system supports that. The caller must ensure that no one writes to the
/// image. When this returns, the copy is on stable storage; on failure no file is left behind.
pub(crate) fn copy_file(image: &Path, target: &Path, progress: &dyn Progress) -> Result<()> {
    let file = Arc::new(ImageFile::open(image, false)?);
    let length = file.len().map_err(|error| cannot("measure", image, error))?;
    progress::step(progress, 0, Some(length), "the copy")?;
    if !file.is_block_device() && share_file(&file, target)? {
        return Ok(());
    }
    // Copies the bytes of the file, whatever its format.
    let bytes = RawDisk::new(file, true)?;
    copy(&bytes, None, target, ImageFormat::Raw, progress)
}

fn fill(disk: &dyn BlockBackend, target: &Path, format: ImageFormat, progress: &dyn Progress) -> Result<()> {
    let copy = open(target, Some(format), Access::ReadWrite)?;
    let cannot = |error| cannot("write", target, error);
    scan(disk, "the copy", progress, |offset, bytes| {
        for (at, block) in (offset..).step_by(BLOCK as usize).zip(bytes.chunks_mut(BLOCK as usize)) {
            if !is_zero(block) {
                copy.write(&[GuestSlice::from(block)], at).map_err(cannot)?;
            }
        }
        Ok(())
    })?;
    copy.flush().map_err(cannot)
}

/// Makes the copy by sharing the blocks of the image file, if possible.
fn share(image: &Path, format: ImageFormat, target: &Path) -> Result<bool> {
    let layers = chain::open(Image::Path(image, Some(format)), None)?;
    let [top] = layers.as_slice() else { return Ok(false) };
    let whole = match &top.kind {
        // A copy must end with a whole sector, which sharing a file with a partial sector does not achieve.
        LayerKind::Raw => top.file.len().map_err(|error| cannot("measure", image, error))?.is_multiple_of(512),
        LayerKind::Qcow2(_) => true,
    };
    if !whole || top.file.is_block_device() {
        return Ok(false);
    }
    share_file(&top.file, target)
}

/// Creates a file that shares all blocks with another, if the file system supports that.
fn share_file(image: &ImageFile, target: &Path) -> Result<bool> {
    let mut shared = false;
    make(target, |file| {
        shared = clone(image, file).map_err(|error| cannot("create", target, error))?;
        Ok(())
    })?;
    if !shared {
        fs::remove_file(target).map_err(|error| cannot("replace", target, error))?;
    }
    Ok(shared)
}
