//! Creates disks on top of a layer's disks.

use std::fs;
use std::path::Path;

use uuid::Uuid;

use crate::disk::{self, ImageFormat, OverlayKind};
use crate::repository::{Directory, Stage};
use crate::{Error, Result};

/// A disk of a layer.
pub(super) struct Base<'a> {
    /// Its current path.
    pub(super) image: &'a Path,
    pub(super) format: ImageFormat,
    /// The layer that contains it, or will contain it.
    pub(super) layer: Uuid,
    /// Its name in the layer.
    pub(super) name: &'a str,
}

/// Creates disk `index` of the stage as a copy-on-write copy of a layer's disk. Returns its format.
pub(super) fn child(stage: &Stage, index: usize, base: &Base<'_>) -> Result<ImageFormat> {
    // Its format, and so its name, is known only when it is created.
    let draft = stage.folder().join("draft");
    let name = format!("../../{}/{}/{}", Directory::Layers.name(), base.layer, base.name);
    let format = match disk::overlay_as(base.image, base.format, &draft, &name)? {
        OverlayKind::Reflink => base.format,
        OverlayKind::Qcow2 => ImageFormat::Qcow2,
    };
    let path = stage.disk_path(index, format);
    fs::rename(&draft, &path).map_err(|error| Error::io(format!("cannot create disk {}", path.display()), error))?;
    Ok(format)
}
