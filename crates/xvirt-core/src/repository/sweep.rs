//! Deletes what removed snapshots no longer need: images on which nothing is based, and records that nothing names.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::store::absent_is;
use super::{Directory, OwnDisk, Repository, Snapshot, StoredVm};
use crate::disk;
use crate::{Error, Result};

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

    /// Whether a record names the snapshot.
    fn names(&self, id: Uuid) -> bool {
        let vms = self.vms.iter().filter_map(|vm| vm.record().snapshot);
        vms.chain(self.snapshots.iter().filter_map(|snapshot| snapshot.record().parent)).any(|named| named == id)
    }

    /// The files on which images are directly based, resolved. An image that cannot be read counts as based on
    /// everything: then this is `None`.
    fn bases(&self) -> Option<HashSet<PathBuf>> {
        let of_vms = self.vms.iter().flat_map(StoredVm::own_disks);
        let all = of_vms.chain(self.snapshots.iter().flat_map(Snapshot::images));
        let mut bases = HashSet::new();
        for own in all {
            match base_of(&own) {
                Ok(base) => bases.extend(base),
                Err(error) => {
                    tracing::warn!(
                        "removed snapshots are kept, because {} cannot be read: {error}",
                        own.path.display()
                    );
                    return None;
                }
            }
        }
        Some(bases)
    }
}

/// The file on which an image is directly based, resolved. An image that is not there is based on nothing.
pub(crate) fn base_of(own: &OwnDisk) -> Result<Option<PathBuf>> {
    if !own.path.exists() {
        return Ok(None);
    }
    Ok(disk::below(&own.path, own.format)?.map(|(path, _)| resolved(&path)))
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
