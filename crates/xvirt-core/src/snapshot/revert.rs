//! Reverts a VM to a snapshot.

use uuid::Uuid;

use crate::repository::{
    Change, Record, Repository, Snapshot, StoredVm, Suspended, VmRecord, child, claim_if_there, link_files,
    link_saved_state, saved_state_files,
};
use crate::{ErrorKind, Result};

impl Repository {
    /// Reverts a VM to a snapshot of it: its disks and its configuration are again as they were then. Everything that
    /// is in no snapshot is lost: what its disks hold now, disks that were added since, and its memory if it is
    /// suspended. Name and labels stay.
    ///
    /// The VM is halted afterwards. After a checkpoint it is suspended, and continues from that moment when it is
    /// resumed; it can be reverted to the same checkpoint as often as desired. Either way it gets a new generation ID,
    /// by which the guest can notice that it went back in time. A running VM must be shut down first, and the VM must
    /// be [built](StoredVm::build) again afterwards.
    ///
    /// # Errors
    /// After an error the VM is as before.
    ///
    /// - [`NotFound`](ErrorKind::NotFound) if the snapshot or the VM was removed; the remedy is to create a VM from the
    ///   snapshot with [`clone_vm`](Self::clone_vm).
    /// - [`Busy`](ErrorKind::Busy) if a disk is in use, or the VM was changed meanwhile.
    /// - [`InUse`](ErrorKind::InUse) if other VMs use disks of this VM.
    pub fn revert(&self, snapshot: &Snapshot) -> Result<StoredVm> {
        let snapshot = self.find_snapshot(snapshot.uuid())?;
        let vm = self.vm(&snapshot.vm().to_string()).map_err(|error| match error.kind() {
            ErrorKind::NotFound => error.with_remedy("create a VM from the snapshot: Repository::clone_vm"),
            _ => error,
        })?;
        self.require_unused(vm.uuid())?;
        let stage = self.stage()?;
        let mut config = snapshot.record().config.clone();
        config.name = vm.name().to_owned();
        config.labels.clone_from(vm.labels());
        config.generation_id = Uuid::new_v4();
        let mut record = VmRecord::new(config, snapshot.record().layer.clone())?;
        record.snapshot = Some(snapshot.uuid());
        let (folder, old) = (vm.folder(), vm.disk_names()?);
        // The locks show that no one uses these disks. With the lock, as a VM that runs may have them closed.
        let lock = self.lock_shared()?;
        let claims = old.iter().map(|name| claim_if_there(&folder.join(name))).collect::<Result<Vec<_>>>()?;
        drop(lock);
        let replaced: Vec<_> = old.iter().cloned().chain(saved_state_files()).collect();
        link_files(&folder, &replaced, &stage)?;
        for own in snapshot.images() {
            let made = child(&stage, own.index, &own.as_base(&snapshot))?;
            record.set_disk(own.index, made.name, made.format);
        }
        if snapshot.has_memory() {
            let lock = self.lock_shared()?;
            self.require_snapshot(snapshot.uuid())?;
            link_saved_state(&lock, &snapshot.folder(), stage.folder())?;
            drop(lock);
            let suspended = Suspended::new(record.config.clone(), stage.folder());
            record.suspended = Some(Suspended { original: snapshot.record().original, ..suspended });
        }
        record.write(stage.folder())?;
        let lock = self.lock_exclusive()?;
        self.require_snapshot(snapshot.uuid())?;
        link_files(&folder, &replaced, &stage)?;
        let reverted = vm.with_record(record);
        self.replace(lock, &vm, Change { vm: vm.uuid(), stage, layer: None })?;
        drop(claims);
        self.sweep_removed();
        Ok(reverted)
    }
}
