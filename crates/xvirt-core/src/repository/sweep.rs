//! Deletes what removed snapshots no longer need: images on which nothing is based, and records that nothing names.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::store::absent_is;
use super::{Directory, OwnDisk, Repository, Snapshot, StoredVm};
use crate::disk::{self, ImageFormat};
use crate::{Error, Result};

/// An image of a VM or a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct ImageFile {
    pub(crate) path: PathBuf,
    pub(crate) format: ImageFormat,
    /// Whether it is a disk of a VM, which may be running.
    pub(crate) of_vm: bool,
}

/// The VMs and snapshots of a repository, and what they are based on.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) vms: Vec<StoredVm>,
    pub(crate) snapshots: Vec<Snapshot>,
}

impl Family {
    /// Reads all of them, for callers that hold a lock. Fails if one cannot be read, because it might need anything.
    pub(crate) fn read(repository: &Repository) -> Result<Self> {
        Ok(Self { vms: repository.read_vms()?, snapshots: repository.read_snapshots()? })
    }

    /// The images of all VMs and snapshots, also of disks that the record of a VM does not have.
    pub(crate) fn images(&self) -> Result<Vec<ImageFile>> {
        let image = |own: OwnDisk, of_vm| ImageFile { path: own.path, format: own.format, of_vm };
        let mut all: Vec<_> = self.snapshots.iter().flat_map(Snapshot::images).map(|own| image(own, false)).collect();
        for vm in &self.vms {
            let (folder, own) = (vm.folder(), vm.own_disks());
            let names = vm.disk_names()?.into_iter().filter(|name| !own.iter().any(|own| own.name == *name));
            // Only these can be based on others.
            let others = names.filter(|name| name.ends_with(".qcow2")).map(|name| folder.join(name));
            all.extend(others.map(|path| ImageFile { path, format: ImageFormat::Qcow2, of_vm: true }));
            all.extend(own.into_iter().map(|own| image(own, true)));
        }
        Ok(all)
    }

    /// Whether a record names the snapshot.
    fn names(&self, id: Uuid) -> bool {
        let vms = self.vms.iter().filter_map(|vm| vm.record().snapshot);
        vms.chain(self.snapshots.iter().filter_map(|snapshot| snapshot.record().parent)).any(|named| named == id)
    }

    /// The files on which images are directly based, resolved. An image that cannot be read counts as based on
    /// everything: then this is `None`.
    fn bases(&self) -> Option<HashSet<PathBuf>> {
        let read = || {
            let mut bases = HashSet::new();
            for image in self.images()? {
                bases.extend(image.base()?);
            }
            Ok(bases)
        };
        read()
            .inspect_err(|error: &Error| {
                tracing::warn!("removed snapshots are kept, because an image cannot be read: {error}");
            })
            .ok()
    }
}

impl ImageFile {
    /// The file on which it is directly based, resolved. An image that is not there is based on nothing.
    pub(crate) fn base(&self) -> Result<Option<PathBuf>> {
        if !self.path.exists() {
            return Ok(None);
        }
        Ok(disk::below(&self.path, self.format)?.map(|(path, _)| resolved(&path)))
    }
}

pub(crate) fn resolved(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

impl Repository {
    /// Deletes what removed snapshots no longer need. What cannot be deleted now is deleted by a later call.
    pub(crate) fn sweep_removed(&self) -> Result<()> {
        let lock = self.lock_exclusive()?;
        let mut family = match Family::read(self) {
            Ok(family) => family,
            Err(error) => {
                tracing::warn!("removed snapshots are kept until the repository is whole again: {error}");
                return Ok(());
            }
        };
        let mut trash = Vec::new();
        while family.snapshots.iter().any(|snapshot| snapshot.record().removed) {
            let Some(bases) = family.bases() else { break };
            let unneeded = |own: &OwnDisk| own.path.exists() && !bases.contains(&resolved(&own.path));
            let removed = || family.snapshots.iter().filter(|snapshot| snapshot.record().removed);
            let images: Vec<_> = removed().flat_map(Snapshot::images).filter(unneeded).collect();
            images.iter().try_for_each(|own| delete(&own.path))?;
            let empty = |snapshot: &&Snapshot| snapshot.images().iter().all(|own| !own.path.exists());
            let gone = removed().filter(empty).map(Snapshot::uuid).find(|id| !family.names(*id));
            if let Some(id) = gone {
                trash.push(self.discard(&lock, Directory::Snapshots, id)?);
                family.snapshots.retain(|snapshot| snapshot.uuid() != id);
            } else if images.is_empty() {
                break;
            }
        }
        drop(lock);
        trash.into_iter().for_each(|id| self.empty(id));
        Ok(())
    }
}

pub(crate) fn delete(path: &Path) -> Result<()> {
    let deleted = fs::remove_file(path).or_else(absent_is(()));
    deleted.map_err(|error| Error::io(format!("cannot delete {}", path.display()), error))
}
