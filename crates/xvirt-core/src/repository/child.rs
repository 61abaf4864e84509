//! Creates disks on top of the disks of templates and snapshots.

use std::fs;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::name::disk_name;
use super::{Directory, OwnDisk, Stage};
use crate::disk::{self, ImageFormat, OverlayKind};
use crate::{Error, ErrorKind, Result};

/// The most images below a disk: each read may have to search all of them.
pub(crate) const MAX_IMAGES_BELOW: usize = 48;

/// A disk of a template or a snapshot.
#[derive(Debug)]
pub(crate) struct Base<'a> {
    /// Its current path.
    pub(crate) image: &'a Path,
    pub(crate) format: ImageFormat,
    /// The template or snapshot that contains it, or will contain it.
    pub(crate) directory: Directory,
    pub(crate) owner: Uuid,
    /// Its name there.
    pub(crate) name: &'a str,
}

/// A copy-on-write copy in a stage.
#[derive(Clone, Debug)]
pub(crate) struct Child {
    /// Its name in the stage.
    pub(crate) name: String,
    /// Its path in the stage.
    pub(crate) path: PathBuf,
    pub(crate) format: ImageFormat,
    pub(crate) kind: OverlayKind,
}

/// Creates disk `index` of the stage as a copy-on-write copy of `base`, with a name that no file in the stage has.
pub(crate) fn child(stage: &Stage, index: usize, base: &Base<'_>) -> Result<Child> {
    // Its format, and so its name, is known only when it is created.
    let draft = stage.folder().join("draft");
    let below = format!("../../{}/{}/{}", base.directory.name(), base.owner, base.name);
    let kind = disk::overlay_as(base.image, base.format, &draft, &below)?;
    let format = match kind {
        OverlayKind::Reflink => base.format,
        OverlayKind::Qcow2 => ImageFormat::Qcow2,
    };
    let name = free_name(stage.folder(), index, format);
    let path = stage.folder().join(&name);
    fs::rename(&draft, &path).map_err(|error| Error::io(format!("cannot create disk {}", path.display()), error))?;
    Ok(Child { name, path, format, kind })
}

impl OwnDisk {
    /// Whether it is based on another image. Takes no lock.
    pub(crate) fn is_based(&self) -> Result<bool> {
        disk::below(&self.path, self.format).map(|below| below.is_some())
    }

    /// Fails if there are too many images below it for one more. Takes no lock.
    pub(crate) fn require_room(&self) -> Result<()> {
        let (mut below, mut next) = (0, disk::below(&self.path, self.format)?);
        while let Some((path, format)) = next {
            below += 1;
            if below >= MAX_IMAGES_BELOW {
                let what =
                    format!("disk {} is based on {MAX_IMAGES_BELOW} images, which is the maximum", self.path.display());
                return Err(Error::new(ErrorKind::UnsupportedImage, what).with_remedy(
                    "remove snapshots and merge their images (Repository::merge_removed), or flatten the VM",
                ));
            }
            next = disk::below(&path, format.unwrap_or(ImageFormat::Raw))?;
        }
        Ok(())
    }
}

/// A name for disk `index` that no file in the folder has.
fn free_name(folder: &Path, index: usize, format: ImageFormat) -> String {
    // Cannot fail, because there are more numbers than files.
    let mut names = (index..usize::MAX).map(|number| disk_name(number, format));
    names.find(|name| fs::symlink_metadata(folder.join(name)).is_err()).unwrap_or_default()
}
