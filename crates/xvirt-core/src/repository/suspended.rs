//! Suspended VMs of a repository.
//!
//! The saved state of a VM lies in the VM's folder, and the VM's record names it. A resume first takes it out of the
//! record, under the repository's lock and on stable storage. So the same saved state is never resumed twice, whatever
//! crashes, and whoever has the file under another name.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::files::settle_paths;
use super::snapshot::{saved_state, saved_state_files};
use super::update::link_files;
use super::{Change, ExclusiveLock, Record, Repository, Stage, StoredVm, Suspended, VmRecord, sync_folder};
use crate::config::{Disk, DiskSource, VmConfig};
use crate::host::Host;
use crate::progress::Progress;
use crate::vm::{SavedImage, SavedState, SuspendReport, SuspendedVm, Vm, require_unchanged, saved_state_has_base};
use crate::{Error, ErrorKind, Result};

/// The saved state of a VM in a repository.
#[derive(Debug)]
struct StoredState {
    repository: Repository,
    vm: Uuid,
    /// Identifies it in the VM's record.
    id: Uuid,
    original: Option<Uuid>,
    path: PathBuf,
}

impl SavedState for StoredState {
    fn path(&self) -> &Path {
        &self.path
    }

    fn original(&self) -> Option<Uuid> {
        self.original
    }

    /// Reads the record again, because a snapshot taken since has given the VM other images.
    fn require_resumable(&self, disks: &[Disk]) -> Result<()> {
        let lock = self.repository.lock_shared()?;
        let (vm, suspended) = self.read()?;
        drop(lock);
        for (disk, stored) in disks.iter().zip(&suspended.config.disks) {
            require_same_image(&vm, disk, stored)?;
        }
        require_unchanged(&images(&vm, &suspended), disks)
    }

    fn discard(&self) -> Result<()> {
        let lock = self.repository.lock_exclusive()?;
        let (vm, _) = self.read()?;
        let mut record = vm.record().clone();
        record.suspended = None;
        record.replace(&vm.folder())?;
        // Under the lock: later, the file could be the saved state of the next suspend.
        let mut trash = Vec::new();
        for path in saved_state_files().iter().map(|name| vm.folder().join(name)).filter(|path| path.exists()) {
            match self.repository.discard_file(&lock, &path) {
                Ok(id) => trash.push(id),
                Err(error) => tracing::warn!("{} stays and takes space: {error}", path.display()),
            }
        }
        drop(lock);
        trash.into_iter().for_each(|id| self.repository.empty(id));
        Ok(())
    }
}

impl StoredVm {
    /// Whether the VM is suspended: its memory is saved beside its disks.
    pub fn is_suspended(&self) -> bool {
        self.record().suspended.is_some()
    }

    /// Builds the VM: halted, or suspended if it was suspended by [`Repository::suspend`] or reverted to a checkpoint.
    ///
    /// A suspended VM continues with [`Vm::resume`].
    ///
    /// # Errors
    /// As [`VmConfig::build`], and as [`SuspendedVm::open`] if it is suspended.
    pub fn build(&self, host: &Host) -> Result<Vm> {
        let Some(suspended) = &self.record().suspended else { return self.config().build(host) };
        let state = StoredState::of(self, suspended);
        SuspendedVm::open(&state.path)?.build_from(Arc::new(state), self.current_config(), host)
    }
}

impl StoredState {
    fn of(vm: &StoredVm, suspended: &Suspended) -> Self {
        let (repository, path) = (vm.repository().clone(), saved_state(&vm.folder()));
        Self { repository, vm: vm.uuid(), id: suspended.id, original: suspended.original, path }
    }

    /// The VM and what its record says of this saved state, for callers that hold a lock.
    fn read(&self) -> Result<(StoredVm, Suspended)> {
        let vm = self.repository.read_vm(self.vm)?;
        let suspended = vm.record().suspended.clone().filter(|suspended| suspended.id == self.id);
        let suspended = suspended.ok_or_else(|| {
            let what = format!("the saved state of {} is no longer there", vm.title());
            Error::new(ErrorKind::NotFound, what)
                .with_remedy("the VM was resumed, reverted or shut down by others: build it again from the repository")
        })?;
        Ok((vm, suspended))
    }
}

/// The images of a suspended VM's own disks as they were, in the order of its configuration.
fn images(vm: &StoredVm, suspended: &Suspended) -> Vec<Option<SavedImage>> {
    let folder = vm.folder();
    let image = |disk: &Disk| {
        let DiskSource::Image { path, .. } = &disk.source else { return None };
        Some(SavedImage { stamp: *suspended.stamps.get(path.to_str()?)?, path: folder.join(path) })
    };
    suspended.config.disks.iter().map(image).collect()
}

/// Fails if the VM has another image for a disk by now than the one that the caller knows.
fn require_same_image(vm: &StoredVm, disk: &Disk, stored: &Disk) -> Result<()> {
    let (DiskSource::Image { path: known, .. }, DiskSource::Image { path: own, .. }) = (&disk.source, &stored.source)
    else {
        return Ok(());
    };
    if own.is_absolute() || known.file_name() == own.file_name() {
        return Ok(());
    }
    let what = format!("disk {} of {} has moved into a snapshot since", known.display(), vm.title());
    Err(Error::new(ErrorKind::InvalidState, what)
        .with_remedy("build the VM again from the repository, and resume that"))
}

impl Repository {
    /// Suspends a running or paused VM of the repository: like [`Vm::suspend`], with the saved state in the VM's
    /// folder, and with all that was plugged in. The stored configuration stays as it is; it counts again after the
    /// next shutdown.
    ///
    /// `vm` can be resumed. So can, in any process, the VM that [`StoredVm::build`] builds.
    ///
    /// ```no_run
    /// use xvirt_core::host::Host;
    /// use xvirt_core::repository::Repository;
    ///
    /// # fn main() -> xvirt_core::Result<()> {
    /// let (host, repository) = (Host::probe()?, Repository::open("/var/lib/xvirt")?);
    /// let vm = repository.vm("web-1")?.build(&host)?;
    /// vm.start()?;
    /// repository.suspend(&vm, &())?;
    /// drop(vm);
    /// let vm = repository.vm("web-1")?.build(&host)?;
    /// vm.resume(&())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Vm::suspend`], and: [`NotFound`](ErrorKind::NotFound) if the VM is not in the repository;
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if its configuration contains open objects, which cannot be stored;
    /// [`Busy`](ErrorKind::Busy) if the stored VM was changed meanwhile. Then the VM is as before.
    pub fn suspend(&self, vm: &Vm, progress: &dyn Progress) -> Result<SuspendReport> {
        let stored = self.vm(&vm.uuid().to_string())?;
        let stage = self.stage()?;
        // Fails before the guest is stopped if the configuration cannot be stored.
        suspended_record(&stored, vm.config()?)?.0.write(stage.folder())?;
        let file = create_saved_state(stage.folder())?;
        let publish = |config| {
            let (record, state) = suspended_record(&stored, config)?;
            record.write(stage.folder())?;
            let lock = self.lock_exclusive()?;
            link_files(&stored.folder(), &saved_state_files(), &stage)?;
            self.replace(lock, &stored, Change { vm: stored.uuid(), stage, layer: None })?;
            Ok(Arc::new(state) as _)
        };
        vm.suspend_into(file, publish, progress)
    }

    /// Discards the saved state of a suspended VM, which is halted afterwards. Its guest finds its disks as after a
    /// power failure. Returns the halted VM; a VM that is not suspended is unchanged.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if the VM was removed, or was resumed at the same time; or the repository
    /// cannot be written.
    pub fn hard_shutdown(&self, vm: &StoredVm) -> Result<StoredVm> {
        let vm = self.vm(&vm.uuid().to_string())?;
        if let Some(suspended) = &vm.record().suspended {
            StoredState::of(&vm, suspended).discard()?;
        }
        self.vm(&vm.uuid().to_string())
    }
}

/// Creates the file for a saved state in the folder of a VM or a snapshot.
pub(crate) fn create_saved_state(folder: &Path) -> Result<File> {
    let path = saved_state(folder);
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
    file.map_err(|error| Error::io(format!("cannot create {}", path.display()), error))
}

/// Puts the staged saved state, which is based on no other, in the place of the one in a folder, on stable storage.
pub(crate) fn replace_saved_state(_: &ExclusiveLock, stage: &Stage, folder: &Path) -> Result<()> {
    let (from, to) = (saved_state(stage.folder()), saved_state(folder));
    fs::rename(&from, &to).map_err(|error| Error::io(format!("cannot replace {}", to.display()), error))?;
    sync_folder(folder)
}

/// Moves the files on which the saved state in a folder was based to the trash, if it is based on none any more. A process
/// that was killed may have left them.
pub(crate) fn discard_unused_bases(repository: &Repository, lock: &ExclusiveLock, folder: &Path) -> Result<Vec<Uuid>> {
    let bases = saved_state_files().into_iter().skip(1).map(|name| folder.join(name));
    let bases: Vec<_> = bases.filter(|path| path.exists()).collect();
    if bases.is_empty() || saved_state_has_base(&saved_state(folder))? {
        return Ok(Vec::new());
    }
    bases.iter().map(|path| repository.discard_file(lock, path)).collect()
}

/// The record of a VM that is suspended with this configuration, and its saved state.
fn suspended_record(vm: &StoredVm, mut config: VmConfig) -> Result<(VmRecord, StoredState)> {
    settle_paths(&mut config, &vm.folder())?;
    let suspended = Suspended::new(config, &vm.folder());
    let (state, mut record) = (StoredState::of(vm, &suspended), vm.record().clone());
    record.suspended = Some(suspended);
    Ok((record, state))
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::repository::link_saved_state;
    use crate::state::base_path;

    #[test]
    fn a_saved_state_is_linked_with_what_it_is_based_on_while_others_replace_it() {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::open(folder.path().join("repository")).unwrap();
        for number in 0..200 {
            let make = |name: &str| {
                let made = folder.path().join(format!("{name}-{number}"));
                fs::create_dir(&made).unwrap();
                made
            };
            let (from, to, flat, barrier) = (make("from"), make("to"), make("flat"), Barrier::new(2));
            for path in [saved_state(&from), base_path(&saved_state(&from), 1)] {
                fs::write(path, "based").unwrap();
            }
            fs::write(saved_state(&flat), "flat").unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    barrier.wait();
                    let lock = repository.lock_exclusive().unwrap();
                    fs::rename(saved_state(&flat), saved_state(&from)).unwrap();
                    repository.discard_file(&lock, &base_path(&saved_state(&from), 1)).unwrap();
                });
                barrier.wait();
                link_saved_state(&repository.lock_shared().unwrap(), &from, &to).unwrap();
            });
            let based = fs::read(saved_state(&to)).unwrap() == b"based";
            assert_eq!(base_path(&saved_state(&to), 1).exists(), based, "in round {number}");
        }
    }
}
