//! A disk that begins as a disk of a layer.

use std::fs;
use std::path::Path;

use uuid::Uuid;

use crate::disk::{self, ImageFormat, OverlayKind};
use crate::repository::{Directory, Stage};
use crate::{Error, Result};

/// A disk of a layer.
pub(super) struct Base<'a> {
    /// Where it is now.
    pub(super) image: &'a Path,
    pub(super) format: ImageFormat,
    /// The layer that it is in, or is to be in.
    pub(super) layer: Uuid,
    /// Its name there.
    pub(super) name: &'a str,
}

/// Makes disk `index` in the stage a copy of a layer's disk that shares its data. Answers its format.
pub(super) fn child(stage: &Stage, index: usize, base: &Base<'_>) -> Result<ImageFormat> {
    // Which format it has is only known when it is made.
    let draft = stage.folder().join("draft");
    let name = format!("../../{}/{}/{}", Directory::Layers.name(), base.layer, base.name);
    let format = match disk::overlay_as(base.image, base.format, &draft, &name)? {
        OverlayKind::Reflink => base.format,
        OverlayKind::Qcow2 => ImageFormat::Qcow2,
    };
    let path = stage.disk_path(index, format);
    fs::rename(&draft, &path).map_err(|error| Error::io(format!("cannot make disk {}", path.display()), error))?;
    Ok(format)
}
