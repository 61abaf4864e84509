//! The measured disks.

use std::fs;
use std::path::{Path, PathBuf};

use xvirt_benches::Result;
use xvirt_core::disk::GuestSlice;
use xvirt_core::disk::{self, Access, ImageFormat, OverlayKind};

use crate::guest::Image;

/// A measured disk.
pub(crate) struct DataDisk {
    name: &'static str,
    image: Image,
    /// The base of an overlay.
    base: Option<PathBuf>,
}

/// A raw and a qcow2 disk, fully allocated, and an overlay over another raw disk.
pub(crate) fn all(folder: &Path, size: u64) -> Result<Vec<DataDisk>> {
    let raw = Image { format: ImageFormat::Raw, path: folder.join("data.raw") };
    let qcow2 = Image { format: ImageFormat::Qcow2, path: folder.join("data.qcow2") };
    let base = Image { format: ImageFormat::Raw, path: folder.join("base.raw") };
    for image in [&raw, &qcow2, &base] {
        fill(image, size)?;
    }
    let layer = layer(&base.path, folder.join("layer"))?;
    Ok(vec![
        DataDisk { name: "raw", image: raw, base: None },
        DataDisk { name: "qcow2", image: qcow2, base: None },
        DataDisk { name: "overlay", image: layer, base: Some(base.path) },
    ])
}

impl DataDisk {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The image for the next boot; an overlay is recreated empty.
    pub(crate) fn image(&self) -> Result<Image> {
        match &self.base {
            Some(base) => layer(base, self.image.path.clone()),
            None => Ok(self.image.clone()),
        }
    }
}

/// An empty overlay at `path` over a raw disk that is not written.
pub(crate) fn layer(base: &Path, path: PathBuf) -> Result<Image> {
    if path.exists() {
        fs::remove_file(&path)?;
    }
    let format = match disk::overlay(base, Some(ImageFormat::Raw), &path)? {
        OverlayKind::Reflink => ImageFormat::Raw,
        _ => ImageFormat::Qcow2,
    };
    Ok(Image { format, path })
}

/// Creates a fully allocated image.
fn fill(image: &Image, size: u64) -> Result<()> {
    disk::create(&image.path, image.format, size)?;
    let disk = disk::open(&image.path, Some(image.format), Access::ReadWrite)?;
    let mut piece = vec![0xa5_u8; 1 << 20];
    for offset in (0..size).step_by(piece.len()) {
        let length = piece.len().min((size - offset) as usize);
        disk.write(&[GuestSlice::from(&mut piece[..length])], offset)?;
    }
    disk.flush()?;
    Ok(())
}
