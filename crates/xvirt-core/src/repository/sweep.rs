//! Deletes what removed snapshots no longer need: images on which nothing is based, and records that nothing names.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::{
    Directory, ExclusiveLock, OwnDisk, Record, Repository, Snapshot, StoredVm, Template, discard_unused_bases,
    saved_state_files,
};
use crate::Result;
use crate::disk::{self, ImageFormat};

/// An image of a template, a VM or a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct ImageFile {
    pub(crate) path: PathBuf,
    pub(crate) format: ImageFormat,
    /// Whether it is a disk of a VM, which may be running.
    pub(crate) of_vm: bool,
}

/// What a repository has, and what that is based on.
#[derive(Debug)]
pub(crate) struct Inventory {
    templates: Vec<Template>,
    pub(crate) vms: Vec<StoredVm>,
    pub(crate) snapshots: Vec<Snapshot>,
}

impl Inventory {
    /// Reads all of them, for callers that hold a lock. Fails if one cannot be read, because it might need anything.
    pub(crate) fn read(repository: &Repository) -> Result<Self> {
        let (templates, vms) = (repository.read_templates()?, repository.read_vms()?);
        Ok(Self { templates, vms, snapshots: repository.read_snapshots()? })
    }

    /// The images of all templates, VMs and snapshots, also of disks that the record of a VM does not have.
    pub(crate) fn images(&self) -> Result<Vec<ImageFile>> {
        let image = |own: OwnDisk, of_vm| ImageFile { path: own.path, format: own.format, of_vm };
        let mut all: Vec<_> = self.snapshots.iter().flat_map(Snapshot::images).map(|own| image(own, false)).collect();
        let of_templates = self.templates.iter().flat_map(Template::images);
        all.extend(of_templates.map(|(_, path, format)| ImageFile { path, format, of_vm: false }));
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

    /// The files on which images are directly based, resolved.
    fn bases(&self) -> Result<HashSet<PathBuf>> {
        let mut bases = HashSet::new();
        for image in self.images()? {
            bases.extend(image.base()?);
        }
        Ok(bases)
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
    /// Deletes saved states that can no longer be resumed, and what others are no longer based on, which a process left
    /// that was killed.
    pub(super) fn sweep_saved_states(&self) -> Result<()> {
        let (lock, mut trash) = (self.lock_exclusive()?, Vec::new());
        for directory in [Directory::Vms, Directory::Snapshots] {
            for id in self.ids(directory)? {
                let folder = self.place(directory, id);
                let dead = || match directory {
                    Directory::Vms => self.read_vm(id).is_ok_and(|vm| !vm.is_suspended()),
                    _ => self.read_snapshot(id).is_ok_and(|snapshot| snapshot.is_removed()),
                };
                let files = saved_state_files().into_iter().map(|name| folder.join(name));
                let files: Vec<_> = files.filter(|path| path.exists()).collect();
                match files.len() {
                    0 => {}
                    _ if dead() => {
                        for path in files {
                            trash.push(self.discard_file(&lock, &path)?);
                        }
                    }
                    1 => {}
                    // A damaged one stays as it is, as does one that is being written.
                    _ => trash.extend(discard_unused_bases(self, &lock, &folder).unwrap_or_default()),
                }
            }
        }
        drop(lock);
        trash.into_iter().for_each(|id| self.empty(id));
        Ok(())
    }

    /// Deletes what removed snapshots no longer need. What cannot be deleted now is deleted by a later call.
    pub(crate) fn sweep_removed(&self) {
        let mut trash = Vec::new();
        let swept = self.lock_exclusive().and_then(|lock| self.sweep(&lock, &mut trash));
        trash.into_iter().for_each(|id| self.empty(id));
        if let Err(error) = swept {
            tracing::warn!("what removed snapshots leave stays for now: {error}");
        }
    }

    /// Moves what is not needed into the trash, and adds its names there to `trash`.
    fn sweep(&self, lock: &ExclusiveLock, trash: &mut Vec<Uuid>) -> Result<()> {
        // Mostly there is nothing to do, and reading all VMs each time one is removed takes long if there are many.
        let mut removed = self.read_snapshots()?;
        removed.retain(Snapshot::is_removed);
        if removed.is_empty() {
            return Ok(());
        }
        // Nothing else needs their memory. All that follows may fail, for lack of the room that this makes.
        for snapshot in &removed {
            let files = saved_state_files().into_iter().map(|name| snapshot.folder().join(name));
            for path in files.filter(|path| path.exists()) {
                trash.push(self.discard_file(lock, &path)?);
            }
        }
        let mut inventory = Inventory::read(self)?;
        self.name_no_removed(&mut inventory)?;
        while inventory.snapshots.iter().any(Snapshot::is_removed) {
            let bases = inventory.bases()?;
            let unneeded = |path: &PathBuf| path.exists() && !bases.contains(&resolved(path));
            let removed = || inventory.snapshots.iter().filter(|snapshot| snapshot.is_removed());
            let files = |snapshot: &Snapshot| snapshot.images().into_iter().map(|own| own.path).collect::<Vec<_>>();
            let unneeded: Vec<_> = removed().flat_map(files).filter(unneeded).collect();
            for path in &unneeded {
                trash.push(self.discard_file(lock, path)?);
            }
            let empty = |snapshot: &&Snapshot| !files(snapshot).iter().any(|path| path.exists());
            let gone = removed().filter(empty).map(Snapshot::uuid).next();
            if let Some(id) = gone {
                trash.push(self.discard(lock, Directory::Snapshots, id)?);
                inventory.snapshots.retain(|snapshot| snapshot.uuid() != id);
            } else if unneeded.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Lets records that name a removed snapshot name its parent instead.
    fn name_no_removed(&self, inventory: &mut Inventory) -> Result<()> {
        let parent = |snapshot: &Snapshot| (snapshot.is_removed(), snapshot.record().parent);
        let parents: HashMap<_, _> =
            inventory.snapshots.iter().map(|snapshot| (snapshot.uuid(), parent(snapshot))).collect();
        let above = |mut id: Option<Uuid>| {
            for _ in 0..parents.len() {
                match id.and_then(|id| parents.get(&id)) {
                    Some((true, parent)) => id = *parent,
                    _ => break,
                }
            }
            id
        };
        for snapshot in &mut inventory.snapshots {
            let parent = above(snapshot.record().parent);
            if parent != snapshot.record().parent {
                snapshot.set_parent(parent)?;
            }
        }
        for vm in &inventory.vms {
            let snapshot = above(vm.record().snapshot);
            if snapshot != vm.record().snapshot {
                let mut record = vm.record().clone();
                record.snapshot = snapshot;
                record.replace(&vm.folder())?;
            }
        }
        Ok(())
    }
}
