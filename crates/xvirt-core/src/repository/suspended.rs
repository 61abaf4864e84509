//! Suspended VMs of a repository.
//!
//! The saved state of a VM lies in the VM's folder, and the VM's record names it. A resume first takes it out of the
//! record, under the repository's lock and on stable storage. So the same saved state is never resumed twice, whatever
//! crashes, and whoever has the file under another name.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::files::settle_paths;
use super::snapshot::{SAVED_STATE, saved_state};
use super::store::absent_is;
use super::update::link_files;
use super::{Change, Record, Repository, StoredVm, VmRecord};
use crate::config::VmConfig;
use crate::host::Host;
use crate::progress::Progress;
use crate::vm::{SavedState, SuspendReport, SuspendedVm, Vm};
use crate::{Error, ErrorKind, Result};

/// The saved state of a VM in a repository.
#[derive(Debug)]
struct StoredState {
    repository: Repository,
    vm: Uuid,
    /// Identifies it in the VM's record.
    id: Uuid,
    path: PathBuf,
}

impl SavedState for StoredState {
    fn path(&self) -> &Path {
        &self.path
    }

    fn discard(&self) -> Result<()> {
        let lock = self.repository.lock_exclusive()?;
        let vm = self.repository.read_vm(self.vm)?;
        if vm.record().suspended != Some(self.id) {
            let what = format!("the saved state of {} is no longer there", vm.title());
            return Err(Error::new(ErrorKind::NotFound, what).with_remedy(
                "the VM was resumed, reverted or shut down by others: build it again from the repository",
            ));
        }
        let mut record = vm.record().clone();
        record.suspended = None;
        record.replace(&vm.folder())?;
        drop(lock);
        if let Err(error) = fs::remove_file(&self.path).or_else(absent_is(())) {
            tracing::warn!("cannot remove {}, which only takes space: {error}", self.path.display());
        }
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
        let Some(id) = self.record().suspended else { return self.config().build(host) };
        let path = saved_state(&self.folder());
        let suspended = SuspendedVm::open(&path)?;
        let state = StoredState { repository: self.repository().clone(), vm: self.uuid(), id, path };
        suspended.build_from(Arc::new(state), self.config(), host)
    }
}

impl Repository {
    /// Suspends a running or paused VM of the repository: like [`Vm::suspend`], with the saved state in the VM's
    /// folder. It also stores the VM's current configuration, with the devices that were plugged in while it ran.
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
        suspended_record(&stored, vm.config()?, None)?.write(stage.folder())?;
        let path = stage.folder().join(SAVED_STATE);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| Error::io(format!("cannot create {}", path.display()), error))?;
        vm.suspend_into(
            file,
            |config| {
                let id = Uuid::new_v4();
                suspended_record(&stored, config, Some(id))?.write(stage.folder())?;
                link_files(&stored.folder(), &[SAVED_STATE], &stage)?;
                let lock = self.lock_exclusive()?;
                self.replace(lock, &stored, Change { vm: stored.uuid(), stage, layer: None })?;
                let path = saved_state(&stored.folder());
                Ok(Arc::new(StoredState { repository: self.clone(), vm: stored.uuid(), id, path }))
            },
            progress,
        )
    }

    /// Discards the saved state of a suspended VM, which is halted afterwards. Its guest finds its disks as after a
    /// power failure. Returns the halted VM; a VM that is not suspended is unchanged.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if the VM was removed, or was resumed at the same time; or the repository cannot
    /// be written.
    pub fn hard_shutdown(&self, vm: &StoredVm) -> Result<StoredVm> {
        let vm = self.vm(&vm.uuid().to_string())?;
        if let Some(id) = vm.record().suspended {
            let path = saved_state(&vm.folder());
            StoredState { repository: self.clone(), vm: vm.uuid(), id, path }.discard()?;
        }
        self.vm(&vm.uuid().to_string())
    }
}

/// The record of a VM that is suspended with this configuration.
fn suspended_record(vm: &StoredVm, mut config: VmConfig, id: Option<Uuid>) -> Result<VmRecord> {
    settle_paths(&mut config, &vm.folder())?;
    let mut record = vm.record().with_config(config)?;
    record.suspended = id;
    Ok(record)
}
