//! Takes snapshots: moves the images of a VM into a snapshot, and gives the VM copy-on-write copies of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use uuid::Uuid;

use super::request::{NewSnapshot, Subject};
use crate::config::{Disk, DiskSource, VmConfig};
use crate::disk::{self, Access, BlockBackend};
use crate::progress::Progress;
use crate::repository::{
    Base, BeingTaken, Change, Child, Directory, ExclusiveLock, NewLayer, OwnDisk, Record, Replacement, Repository,
    Snapshot, SnapshotRecord, Stage, StoredVm, child, create_saved_state, link_as_base, link_files, link_saved_state,
    own_disks, saved_state, settle_paths,
};
use crate::vm::{CheckpointBase, open_saved_state};
use crate::{Error, ErrorKind, Result};

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
            Subject::Stored(vm) => self.take_stored(vm, &new, Contents::Disks),
            Subject::Vm(vm) => self.take_live(vm, &new, Contents::Disks, progress),
        }
    }

    /// Takes a checkpoint of a running, paused or suspended VM: its disks and its memory at one moment, consistent with
    /// each other. A VM that is [reverted](Self::revert) to it is suspended, and resumes at that moment.
    ///
    /// A running guest is stopped only shortly, and its memory is saved while it runs, as
    /// [`NewSnapshot::method`] says; [`Snapshot::checkpoint_report`] says how that went. The checkpoint is listed when it
    /// is complete.
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot), and: [`InvalidState`](ErrorKind::InvalidState) if the VM is halted, or a device
    /// cannot be saved; [`NoSpace`](ErrorKind::NoSpace). Then there is no checkpoint, and the VM goes on, with one more image
    /// below its disks if its memory could not be saved after it was stopped.
    pub fn checkpoint<'a>(
        &self,
        vm: impl Into<Subject<'a>>,
        new: impl Into<NewSnapshot>,
        progress: &dyn Progress,
    ) -> Result<Snapshot> {
        let new = new.into();
        new.check()?;
        match vm.into() {
            Subject::Stored(vm) => self.take_stored(vm, &new, Contents::DisksAndMemory),
            Subject::Vm(vm) => self.take_live(vm, &new, Contents::DisksAndMemory, progress),
        }
    }

    fn take_stored(&self, vm: &StoredVm, new: &NewSnapshot, contents: Contents) -> Result<Snapshot> {
        let mut draft = SnapshotDraft::new(self, self.vm(&vm.uuid().to_string())?, new)?;
        draft.describe(draft.vm.current_config())?;
        if contents == Contents::DisksAndMemory {
            draft.take_saved_state()?;
        }
        // Held open until the end, so that no one writes to images that become immutable.
        let mut held = Vec::new();
        for own in draft.own_disks() {
            held.push(open_to_repair(&own)?);
            draft.copy(&own)?;
        }
        let snapshot = draft.lock().and_then(|lock| draft.commit(&lock));
        drop(held);
        snapshot
    }
}

/// What a snapshot has of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    Disks,
    DisksAndMemory,
}

/// Opens an image for writing, because that repairs one that a killed process left dirty, and locks it.
pub(super) fn open_to_repair(own: &OwnDisk) -> Result<Arc<dyn BlockBackend>> {
    disk::open(&own.path, Some(own.format), Access::ReadWrite)
}

/// A snapshot in preparation.
#[derive(Debug)]
pub(super) struct SnapshotDraft<'a> {
    repository: &'a Repository,
    pub(super) vm: StoredVm,
    /// What becomes the snapshot.
    taken: Stage,
    record: SnapshotRecord,
    /// What becomes the VM's folder.
    renewed: Stage,
    /// The images that move into the snapshot.
    moves: Vec<Replacement>,
    /// The new images of the VM, by the names of the old ones.
    children: BTreeMap<String, Child>,
}

impl<'a> SnapshotDraft<'a> {
    pub(super) fn new(repository: &'a Repository, vm: StoredVm, new: &NewSnapshot) -> Result<Self> {
        let config = vm.record().config.clone();
        let mut record = SnapshotRecord::new(Uuid::new_v4(), new.name.clone(), &vm, config);
        record.description.clone_from(&new.description);
        let (taken, renewed) = (repository.stage()?, repository.stage()?);
        Ok(Self { repository, vm, taken, record, renewed, moves: Vec::new(), children: BTreeMap::new() })
    }

    /// Sets the configuration of the VM at the snapshot, which names its disks by full paths.
    pub(super) fn describe(&mut self, mut config: VmConfig) -> Result<()> {
        settle_paths(&mut config, &self.vm.folder())?;
        config.disks.iter().try_for_each(|disk| require_kept(&self.vm, disk))?;
        self.record.config = config;
        // Fails if it cannot be stored, before anything is done.
        self.record.write(self.taken.folder())?;
        // First without the lock, so that no new image gets the name of another file.
        link_files(&self.vm.folder(), &self.own_names(), &self.renewed)
    }

    /// The disks in the VM's folder.
    pub(super) fn own_disks(&self) -> Vec<OwnDisk> {
        own_disks(&self.record.config, &self.vm.folder())
    }

    fn own_names(&self) -> Vec<String> {
        self.own_disks().into_iter().map(|own| own.name).collect()
    }

    pub(super) fn disk(&self, index: usize) -> Option<&Disk> {
        self.record.config.disks.get(index)
    }

    /// Lets the saved state that will be created be based on that of a checkpoint.
    pub(super) fn link_base(&self, base: &CheckpointBase) -> Result<()> {
        let lock = self.repository.lock_shared()?;
        let folder = self.repository.require_snapshot(base.snapshot)?.folder();
        if open_saved_state(&saved_state(&folder))?.identity() != base.identity {
            return Err(Error::new(ErrorKind::InvalidState, "the saved state of the checkpoint was replaced"));
        }
        link_as_base(&lock, &folder, self.taken.folder())
    }

    /// Keeps the snapshot from being listed until the result is given to [`Repository::complete_checkpoint`], and from being
    /// deleted.
    pub(super) fn begin_taking(&mut self) -> Result<BeingTaken> {
        self.record.removed = true;
        BeingTaken::mark(self.taken.folder())
    }

    /// Creates the file for the saved state of a checkpoint.
    pub(super) fn create_saved_state(&mut self) -> Result<File> {
        self.record.memory = true;
        create_saved_state(self.taken.folder())
    }

    /// Takes the saved state of a suspended VM.
    pub(super) fn take_saved_state(&mut self) -> Result<()> {
        let Some(suspended) = &self.vm.record().suspended else {
            let what = format!("cannot take a checkpoint of {}, because it is not suspended", self.vm.title());
            return Err(Error::new(ErrorKind::InvalidState, what)
                .with_remedy("give the running Vm, or take a snapshot: a halted VM has no memory"));
        };
        (self.record.memory, self.record.original) = (true, suspended.original);
        link_saved_state(&self.repository.lock_shared()?, &self.vm.folder(), self.taken.folder())
    }

    /// Creates the copy-on-write copy with which the VM continues.
    pub(super) fn copy(&mut self, own: &OwnDisk) -> Result<Child> {
        own.require_room()?;
        let (directory, owner) = (Directory::Snapshots, self.record.uuid);
        let base = Base { image: &own.path, format: own.format, directory, owner, name: &own.name };
        let made = child(&self.renewed, own.index, &base)?;
        self.moves.push(Replacement { from: own.name.clone(), to: own.name.clone() });
        self.children.insert(own.name.clone(), made.clone());
        Ok(made)
    }

    /// Where the new image of a disk will be.
    pub(super) fn place(&self, child: &Child) -> DiskSource {
        DiskSource::Image { path: self.vm.folder().join(&child.name), format: child.format }
    }

    /// Locks the repository. Nobody else locks an image of a VM meanwhile, so one that is closed can be opened again.
    pub(super) fn lock(&self) -> Result<ExclusiveLock> {
        let lock = self.repository.lock_exclusive()?;
        self.repository.require_unchanged(&self.vm)?;
        Ok(lock)
    }

    /// Puts the snapshot and the VM's new folder in place.
    pub(super) fn commit(self, lock: &ExclusiveLock) -> Result<Snapshot> {
        let own = self.own_names();
        let Self { repository, vm, taken, mut record, renewed, moves, children } = self;
        let mut continued = vm.record().clone();
        continued.snapshot = Some(record.uuid);
        continued.change_images(&children);
        if let Some(suspended) = &mut continued.suspended {
            suspended.read_stamps(renewed.folder());
        }
        continued.write(renewed.folder())?;
        link_files(&vm.folder(), &own, &renewed)?;
        record.number = repository.next_number(vm.uuid())?;
        record.write(taken.folder())?;
        let snapshot = Snapshot::new(repository, record)?;
        let layer = NewLayer { directory: Directory::Snapshots, id: snapshot.uuid(), stage: taken, disks: moves };
        let old = repository.change(lock, Change { vm: vm.uuid(), stage: renewed, layer: Some(layer) })?;
        // What is in it has other names, so this takes no time.
        repository.empty(old);
        Ok(snapshot)
    }
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
