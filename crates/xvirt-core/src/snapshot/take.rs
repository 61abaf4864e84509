//! Takes snapshots: moves the images of a VM into a snapshot, and gives the VM copy-on-write copies of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use uuid::Uuid;

use super::request::{NewSnapshot, Subject};
use crate::config::{Disk, DiskSource, VmConfig};
use crate::disk::{self, Access};
use crate::progress::Progress;
use crate::repository::{
    Base, Change, Child, Directory, NewLayer, OwnDisk, Record, Replacement, Repository, Snapshot, SnapshotRecord,
    Stage, StoredVm, VmRecord, child, link_files, own_disks, settle_paths,
};
use crate::{Error, ErrorKind, Result};

/// The most images below one: each read may have to search all of them.
const MAX_DEPTH: usize = 48;

impl Repository {
    /// Takes a snapshot of the disks of a VM at one moment.
    ///
    /// A running guest is stopped for that moment, usually some milliseconds, and goes on. Its disks in the repository
    /// are in the snapshot; a disk elsewhere must be read-only, and is not copied.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use xvirt_core::repository::Repository;
    /// use xvirt_core::snapshot::NewSnapshot;
    ///
    /// # fn main() -> xvirt_core::Result<()> {
    /// # let vm: xvirt_core::vm::Vm = unimplemented!();
    /// let repository = Repository::open("/var/lib/xvirt")?;
    /// let nightly = NewSnapshot::new("nightly").quiesce(Duration::from_secs(10));
    /// let snapshot = repository.snapshot(&vm, nightly, &())?;
    /// println!("{} uses {} bytes", snapshot.name(), snapshot.size()?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// After an error there is no snapshot, and the VM is as before.
    ///
    /// - [`NotFound`](ErrorKind::NotFound) if the VM is not in the repository.
    /// - [`InvalidConfig`](ErrorKind::InvalidConfig) if a writable disk is not in the repository, or the configuration
    ///   contains open objects, which cannot be stored.
    /// - [`Busy`](ErrorKind::Busy) if a [`StoredVm`] is running, a disk is being exported, or the VM was changed
    ///   meanwhile.
    /// - [`UnsupportedImage`](ErrorKind::UnsupportedImage) if there are 48 images below a disk already.
    /// - [`Timeout`](ErrorKind::Timeout) and those of
    ///   [`freeze_file_systems`](crate::agent::GuestAgent::freeze_file_systems), if file systems are to be frozen.
    /// - [`Cancelled`](ErrorKind::Cancelled); or an image cannot be created.
    pub fn snapshot<'a>(
        &self,
        vm: impl Into<Subject<'a>>,
        new: impl Into<NewSnapshot>,
        progress: &dyn Progress,
    ) -> Result<Snapshot> {
        let new = new.into();
        new.check()?;
        match vm.into() {
            Subject::Stored(vm) => self.snapshot_stored(&self.vm(&vm.uuid().to_string())?, &new),
            Subject::Vm(vm) => self.snapshot_live(vm, &new, progress),
        }
    }

    fn snapshot_stored(&self, vm: &StoredVm, new: &NewSnapshot) -> Result<Snapshot> {
        let mut draft = Draft::new(self, vm.clone(), vm.config(), new)?;
        // Held open until the end, so that no one writes to images that become immutable.
        let mut held = Vec::new();
        for own in draft.own_disks() {
            // Opened for writing, because that also repairs an image that a killed process left dirty.
            held.push(disk::open(&own.path, Some(own.format), Access::ReadWrite)?);
            draft.copy(&own)?;
        }
        let snapshot = draft.commit();
        drop(held);
        snapshot
    }
}

/// A snapshot in preparation.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    repository: &'a Repository,
    vm: StoredVm,
    /// What becomes the snapshot.
    taken: Stage,
    record: SnapshotRecord,
    /// What becomes the VM's folder.
    renewed: Stage,
    /// The images that move into the snapshot.
    moves: Vec<Replacement>,
    /// The names of disks in the VM's folder that stay there.
    kept: Vec<String>,
    /// The new images of the VM, by the names of the old ones.
    children: BTreeMap<String, Child>,
}

impl<'a> Draft<'a> {
    /// Begins a snapshot of a VM with this configuration, which names its disks by full paths.
    pub(super) fn new(
        repository: &'a Repository,
        vm: StoredVm,
        mut config: VmConfig,
        new: &NewSnapshot,
    ) -> Result<Self> {
        settle_paths(&mut config, &vm.folder())?;
        config.disks.iter().try_for_each(|disk| require_kept(&vm, disk))?;
        let mut record = SnapshotRecord::new(Uuid::new_v4(), new.name.clone(), &vm, config);
        record.description.clone_from(&new.description);
        let (taken, renewed) = (repository.stage()?, repository.stage()?);
        // Fails early if the configuration cannot be stored.
        record.write(taken.folder())?;
        let own = own_disks(&record.config, &vm.folder());
        let mut kept = vm.disk_names()?;
        kept.retain(|name| !own.iter().any(|own| own.name == *name));
        Ok(Self { repository, vm, taken, record, renewed, moves: Vec::new(), kept, children: BTreeMap::new() })
    }

    /// The disks in the VM's folder.
    pub(super) fn own_disks(&self) -> Vec<OwnDisk> {
        own_disks(&self.record.config, &self.vm.folder())
    }

    pub(super) fn disk(&self, index: usize) -> Option<&Disk> {
        self.record.config.disks.get(index)
    }

    /// A path for the saved state of a checkpoint.
    pub(super) fn saved_state(&mut self) -> PathBuf {
        self.record.memory = true;
        crate::repository::saved_state(self.taken.folder())
    }

    /// Creates the copy-on-write copy with which the VM continues.
    pub(super) fn copy(&mut self, own: &OwnDisk) -> Result<Child> {
        let below = disk::inspect(&own.path, Some(own.format))?.backing.len();
        if below >= MAX_DEPTH {
            let what = format!("disk {} is based on {below} images, which is the maximum", own.path.display());
            return Err(Error::new(ErrorKind::UnsupportedImage, what).with_remedy(
                "remove snapshots and merge their images (Repository::merge_removed), or flatten the VM",
            ));
        }
        let (room, owner) = (Directory::Snapshots, self.record.uuid);
        let base = Base { image: &own.path, format: own.format, room, owner, name: &own.name };
        let made = child(&self.renewed, own.index, &base, &self.kept)?;
        self.moves.push(Replacement { from: own.name.clone(), to: own.name.clone() });
        self.children.insert(own.name.clone(), made.clone());
        Ok(made)
    }

    /// Where the new image of a disk will be.
    pub(super) fn place(&self, child: &Child) -> DiskSource {
        DiskSource::Image { path: self.vm.folder().join(&child.name), format: child.format }
    }

    /// Puts the snapshot and the VM's new folder in place.
    pub(super) fn commit(self) -> Result<Snapshot> {
        let Self { repository, vm, taken, mut record, renewed, moves, children, kept: _ } = self;
        let replaced: Vec<_> = moves.iter().map(|moved| moved.from.as_str()).collect();
        link_files(&vm.folder(), &replaced, &renewed)?;
        let mut continued = vm.record().clone();
        continued.snapshot = Some(record.uuid);
        with_images(continued, &children).write(renewed.folder())?;
        let lock = repository.lock_exclusive()?;
        record.number = repository.next_number(vm.uuid())?;
        record.write(taken.folder())?;
        let (id, room) = (record.uuid, Directory::Snapshots);
        let layer = NewLayer { room, id, stage: taken, disks: moves };
        repository.replace(lock, &vm, Change { vm: vm.uuid(), stage: renewed, layer: Some(layer) })?;
        repository.find_snapshot(id)
    }
}

/// The record of a VM whose disks have new images.
fn with_images(mut record: VmRecord, children: &BTreeMap<String, Child>) -> VmRecord {
    for index in 0..record.config.disks.len() {
        let old = record.config.disks.get(index).and_then(|disk| match &disk.source {
            DiskSource::Image { path, .. } => path.to_str(),
            DiskSource::Descriptors(_) | DiskSource::Backend(_) => None,
        });
        if let Some(child) = old.and_then(|name| children.get(name)) {
            record.set_disk(index, child.name.clone(), child.format);
        }
    }
    record
}

/// Checks that a disk is in the repository, or does not change.
fn require_kept(vm: &StoredVm, disk: &Disk) -> Result<()> {
    let kept = matches!(&disk.source, DiskSource::Image { path, .. } if path.is_relative());
    if kept || disk.read_only {
        return Ok(());
    }
    let what = format!("cannot take a snapshot of {}, because its disk {} is elsewhere", vm.title(), disk.name());
    Err(Error::new(ErrorKind::InvalidConfig, what).with_remedy(
        "move the disk into the repository, unplug it, or give it to the VM read-only: only the repository can keep its \
         contents as they are",
    ))
}
