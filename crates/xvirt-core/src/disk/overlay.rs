//! Copy-on-write copies of a disk.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use serde::Serialize;

use super::chain::{self, Image};
use super::create::make;
use super::file::{ImageFile, cannot};
use super::format::ImageFormat;
use super::info::virtual_size;
use super::layer::{Layer, LayerKind};
use super::lock::Hold;
use super::qcow2;
use crate::{Error, ErrorKind, Result};

/// How a copy shares data with its base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OverlayKind {
    /// Reflink: the file system shares the blocks. The copy has the format of the base and is independent of it: the
    /// base may be changed or deleted.
    Reflink,
    /// The copy is a qcow2 image with the base as its backing file, which must stay at its path and unchanged.
    Qcow2,
}

/// Creates a copy-on-write copy of `base`, in constant time.
///
/// If possible, the copy is a reflink (XFS, Btrfs and others, with both files on the same file system). Otherwise it is
/// a qcow2 image on top of the base. The result tells which. A qcow2 copy in the directory of its base stores a
/// relative name, so that both can be moved together; elsewhere it stores the full path.
///
/// Give the `format` of a raw base that a guest has written to: see [`open`](super::open). When this returns, the copy
/// is on stable storage.
///
/// # Errors
///
/// [`Busy`](ErrorKind::Busy) if the base is open for writing; [`AlreadyExists`](ErrorKind::AlreadyExists) if `copy`
/// exists; otherwise as [`open`](super::open). On failure no file is left behind.
pub fn overlay(base: impl AsRef<Path>, format: Option<ImageFormat>, copy: impl AsRef<Path>) -> Result<OverlayKind> {
    let (base, copy) = (base.as_ref(), copy.as_ref());
    let layers = chain::open(Image::Path(base, format), Some(Hold::Read))?;
    derive(&layers, copy, || name_of(base, copy))
}

/// Like [`overlay`], but a qcow2 copy stores `name` as its backing file, which may be a future path, and nothing is
/// locked: the caller must ensure that no one writes to the base.
pub(crate) fn overlay_as(base: &Path, format: ImageFormat, copy: &Path, name: &str) -> Result<OverlayKind> {
    derive(&chain::open(Image::Path(base, Some(format)), None)?, copy, || Ok(name.to_owned()))
}

fn derive(layers: &[Layer], copy: &Path, name: impl FnOnce() -> Result<String>) -> Result<OverlayKind> {
    let Some(top) = layers.first() else { return Err(Error::new(ErrorKind::InvalidConfig, "a disk needs an image")) };
    let mut kind = OverlayKind::Reflink;
    make(copy, |file| {
        if may_clone(layers, copy) && clone(&top.file, file).map_err(|error| cannot("create", copy, error))? {
            return Ok(());
        }
        kind = OverlayKind::Qcow2;
        let size = virtual_size(top).map_err(|error| cannot("measure", top.file.path(), error))?;
        qcow2::create(file, size, Some((name()?, top.format())))
    })?;
    Ok(kind)
}

/// Whether a reflink of the first file would find its own backing file: a relative name may mean another file
/// elsewhere.
fn may_clone(layers: &[Layer], copy: &Path) -> bool {
    let [top, below @ ..] = layers else { return false };
    let LayerKind::Qcow2(header) = &top.kind else { return !top.file.is_block_device() };
    let found = || {
        let below = fs::canonicalize(below.first()?.file.path()).ok()?;
        let from_copy = fs::canonicalize(copy.parent()?.join(header.backing.as_ref()?)).ok()?;
        Some(below == from_copy)
    };
    !top.file.is_block_device() && (header.backing.is_none() || found().unwrap_or(false))
}

/// Shares the blocks of a file with a new one (reflink), if the file system supports it.
pub(super) fn clone(base: &ImageFile, copy: &ImageFile) -> io::Result<bool> {
    // SAFETY: both descriptors are open, and the call takes no pointer.
    let result = unsafe { libc::ioctl(copy.as_file().as_raw_fd(), libc::FICLONE, base.as_file().as_raw_fd()) };
    if result == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT | libc::EIO) => Err(error),
        _ => Ok(false),
    }
}

fn folder(path: &Path) -> io::Result<std::path::PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).canonicalize()
}

/// The backing file name for the copy to store.
fn name_of(base: &Path, copy: &Path) -> Result<String> {
    let home = folder(base).map_err(|error| cannot("find", base, error))?;
    let file = base.file_name().unwrap_or_default();
    let beside = folder(copy).is_ok_and(|folder| folder == home);
    // "./" keeps a colon in the name from being parsed as a protocol.
    let name = match beside {
        true if file.as_encoded_bytes().contains(&b':') => Path::new(".").join(file),
        true => file.into(),
        false => home.join(file),
    };
    match name.to_str() {
        Some(name) if name.len() < 1024 => Ok(name.to_owned()),
        _ => Err(Error::new(ErrorKind::InvalidConfig, format!("a copy cannot name its base {}", name.display()))
            .with_remedy("give the base a UTF-8 path of less than 1024 bytes")),
    }
}
