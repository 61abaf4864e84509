//! Checks the files that a configuration names before it is stored.

use std::fs::{self, File};
use std::path::Path;

use super::name::is_disk_name;
use crate::config::{DiskSource, VmConfig};
use crate::disk::{self, Access, ImageFormat};
use crate::{Error, ErrorKind, Result};

/// Makes relative paths absolute, because the VM may be started with another working directory. Disks in `folder`,
/// which belong to the VM, get their names in it instead.
pub(crate) fn settle_paths(config: &mut VmConfig, folder: &Path) -> Result<()> {
    config.make_paths_absolute()?;
    for disk in &mut config.disks {
        if let DiskSource::Image { path, .. } = &mut disk.source
            && let Some(name) = name_in(path, folder)
        {
            *path = name.into();
        }
    }
    Ok(())
}

/// The name of a disk in the folder of a VM, if it is there. The folder may be reached by another path.
fn name_in(path: &Path, folder: &Path) -> Option<String> {
    let name = path.file_name()?.to_str().filter(|name| is_disk_name(name))?;
    let parent = path.parent()?;
    let same = parent == folder || fs::canonicalize(parent).is_ok_and(|parent| parent == folder);
    same.then(|| name.to_owned())
}

/// Checks a disk that is new to the VM in `folder`. A disk in the folder is put on stable storage.
pub(super) fn settle_disk(path: &Path, format: ImageFormat, folder: &Path) -> Result<()> {
    match path.is_relative() {
        true => settle_own_disk(&folder.join(path), format),
        false => disk::inspect(path, Some(format)).map(drop),
    }
}

fn settle_own_disk(path: &Path, format: ImageFormat) -> Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(Error::new(ErrorKind::InvalidConfig, format!("disk {} is not a plain file", path.display()))
            .with_remedy("create the disk itself in the folder, not a link to it"));
    }
    let info = disk::inspect(path, Some(format))?;
    if let Some(below) = info.backing.first() {
        let what = format!("disk {} is based on {}", path.display(), below.path.display());
        return Err(Error::new(ErrorKind::InvalidConfig, what)
            .with_remedy("copy the whole disk, so that it depends on nothing: qemu-img convert -O qcow2 OLD NEW"));
    }
    // Fails for a disk that is open for writing, or that its writer did not close.
    let opened = disk::open(path, Some(format), Access::ReadOnly)?;
    let sync = || File::open(path)?.sync_all();
    sync().map_err(|error| Error::io(format!("cannot write disk {}", path.display()), error))?;
    drop(opened);
    Ok(())
}
