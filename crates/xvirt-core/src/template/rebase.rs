//! Makes an instance independent of its template, or moves it to another version.

use super::unwritten::overlay_is_unwritten;
use crate::disk::{self, Access};
use crate::progress::Progress;
use crate::repository::{
    Base, Change, Directory, Lineage, OwnDisk, Record, Repository, Stage, StoredVm, Template, VmRecord, child,
    disk_name, hash_disk,
};
use crate::{Error, ErrorKind, Result};

impl Repository {
    /// Makes the disks of a VM independent of templates and snapshots, by copying the shared data. A VM whose disks are
    /// based on nothing is unchanged.
    ///
    /// Holes stay holes, and a disk keeps its format. The VM must be built again before it can start.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if the VM was removed; [`InvalidState`](ErrorKind::InvalidState) if it is
    /// suspended; [`Busy`](ErrorKind::Busy) while it runs, or if it was
    /// changed meanwhile; [`InUse`](ErrorKind::InUse) if other VMs use its disks or disks based on them;
    /// [`Cancelled`](ErrorKind::Cancelled); or a disk cannot be read, or its copy cannot be written. Then nothing has
    /// changed.
    pub fn flatten(&self, vm: &StoredVm, progress: &dyn Progress) -> Result<StoredVm> {
        let vm = self.vm(&vm.uuid().to_string())?;
        vm.require_halted("flatten")?;
        if vm.layer().is_none() && vm.record().snapshot.is_none() && !is_based(&vm)? {
            return Ok(vm);
        }
        self.require_unused(vm.uuid())?;
        let stage = self.stage()?;
        let mut record = vm.record().clone();
        let mut held = Vec::new();
        for OwnDisk { index, path, format, .. } in vm.own_disks() {
            let opened = disk::open(&path, Some(format), Access::ReadWrite)?;
            disk::copy(&*opened, Some((&path, format)), &stage.disk_path(index, format), format, progress)?;
            record.set_disk(index, disk_name(index, format), format);
            held.push(opened);
        }
        record.layer = None;
        record.snapshot = None;
        self.renew(&vm, stage, record)
    }

    /// Moves an instance to another version of its template.
    ///
    /// Its disks are replaced with copies of that version's disks, so they must be unmodified since the instance was
    /// created. A qcow2 overlay is unmodified if it has no data of its own; a reflink is compared with the template's
    /// disk, which requires reading it. The configuration stays. The VM must be built again before it can start.
    ///
    /// # Errors
    ///
    /// [`InvalidState`](ErrorKind::InvalidState) if disks were written to, which the error names;
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if it is not an instance of a template of that name, if the versions
    /// have different numbers of disks, or if disks were added to the VM; [`NotFound`](ErrorKind::NotFound) if one of
    /// them was removed; [`Busy`](ErrorKind::Busy) while the VM runs, or if it was changed meanwhile;
    /// [`InUse`](ErrorKind::InUse) if other VMs use its disks or disks based on them;
    /// [`Cancelled`](ErrorKind::Cancelled). Then nothing has changed.
    pub fn rebase(&self, vm: &StoredVm, to: &Template, progress: &dyn Progress) -> Result<StoredVm> {
        let vm = self.vm(&vm.uuid().to_string())?;
        vm.require_halted("rebase")?;
        let from = self.origin(&vm, to)?;
        self.require_unused(vm.uuid())?;
        let stage = self.stage()?;
        let mut record = vm.record().clone();
        let (mut held, mut written) = (Vec::new(), Vec::new());
        let (old, new) = (from.images(), to.images());
        for own in vm.own_disks() {
            let (Some((_, below, _)), Some(was), Some((name, image, format))) =
                (old.get(own.index), from.disks().get(own.index), new.get(own.index))
            else {
                continue;
            };
            let opened = disk::open(&own.path, Some(own.format), Access::ReadWrite)?;
            let unwritten = match overlay_is_unwritten(&own, &*opened, below, was)? {
                Some(unwritten) => unwritten,
                None => opened.capacity() == was.size && hash_disk(&*opened, progress)? == was.hash,
            };
            if !unwritten {
                written.push(own.path.display().to_string());
                continue;
            }
            let base = Base { image, format: *format, directory: Directory::Layers, owner: to.uuid(), name };
            let made = child(&stage, own.index, &base)?;
            record.set_disk(own.index, made.name, made.format);
            held.push(opened);
        }
        if !written.is_empty() {
            let what = format!("VM '{}' has written to {}", vm.name(), written.join(", "));
            return Err(Error::new(ErrorKind::InvalidState, format!("{what}, so it cannot move to {}", to.title()))
                .with_remedy(
                    "create a new instance and copy the files inside the guests, or update the guest itself",
                ));
        }
        record.layer = Some(to.lineage());
        self.renew(&vm, stage, record)
    }

    /// The template of an instance that is to move to another version.
    fn origin(&self, vm: &StoredVm, to: &Template) -> Result<Template> {
        let refuse = |why: &str| {
            let what = format!("VM '{}' cannot move to {}: {why}", vm.name(), to.title());
            Err(Error::new(ErrorKind::InvalidConfig, what).with_remedy("create a new instance of that template"))
        };
        if vm.record().snapshot.is_some() {
            return refuse("its disks are based on a snapshot");
        }
        match vm.layer() {
            Some(Lineage { template, name, .. }) if name == to.name() => {
                let from = self.template(&template.to_string())?;
                if from.disks().len() != to.disks().len() {
                    return refuse("the versions have different numbers of disks");
                }
                if let Some(added) = vm.own_disks().iter().find(|own| own.index >= from.disks().len()) {
                    return refuse(&format!("disk {} was added to it", added.index));
                }
                Ok(from)
            }
            Some(layer) => refuse(&format!("it is an instance of '{}:{}'", layer.name, layer.version)),
            None => refuse("it depends on no template"),
        }
    }

    /// Replaces the VM with the staged one.
    fn renew(&self, vm: &StoredVm, stage: Stage, record: VmRecord) -> Result<StoredVm> {
        record.write(stage.folder())?;
        vm.copy_attachments(&stage)?;
        stage.settle()?;
        let lock = self.lock_exclusive()?;
        if let Some(layer) = &record.layer {
            self.read_template(layer.template)?;
        }
        self.replace(lock, vm, Change { vm: vm.uuid(), stage, layer: None })?;
        self.sweep_removed();
        self.vm(&vm.uuid().to_string())
    }
}

/// Whether a disk of a VM is based on another image, such as that of a removed snapshot, which no record names.
fn is_based(vm: &StoredVm) -> Result<bool> {
    for own in vm.own_disks() {
        if own.is_based()? {
            return Ok(true);
        }
    }
    Ok(false)
}
