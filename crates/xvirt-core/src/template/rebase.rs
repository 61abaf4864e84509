//! Making an instance independent of its template, or moving it to another version.

use std::fs;
use std::path::Path;

use super::child::{Base, child};
use crate::disk::{self, Access, BlockBackend};
use crate::progress::Progress;
use crate::repository::{
    Change, Lineage, OwnDisk, Record, Repository, Stage, StoredVm, Template, TemplateDisk, VmRecord, hash_disk,
};
use crate::{Error, ErrorKind, Result};

impl Repository {
    /// Makes the disks of an instance depend on no template any more, by copying what they share with it. Nothing
    /// happens to a VM that depends on none.
    ///
    /// Holes stay holes, and a disk keeps its format. The VM must be built anew to be started again.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if the VM was removed; [`Busy`](ErrorKind::Busy) while it runs, or if it was
    /// changed meanwhile; [`InUse`](ErrorKind::InUse) if other VMs have its disks or disks based on them;
    /// [`Cancelled`](ErrorKind::Cancelled); or a disk cannot be read or its copy not be written. Then everything is as
    /// before.
    pub fn flatten(&self, vm: &StoredVm, progress: &dyn Progress) -> Result<StoredVm> {
        let vm = self.vm(&vm.uuid().to_string())?;
        if vm.layer().is_none() {
            return Ok(vm);
        }
        self.require_unused(vm.uuid())?;
        let stage = self.stage()?;
        let mut record = vm.record().clone();
        let mut held = Vec::new();
        for OwnDisk { index, path, format, .. } in vm.own_disks() {
            let opened = disk::open(&path, Some(format), Access::ReadWrite)?;
            disk::copy(&*opened, Some((&path, format)), &stage.disk_path(index, format), format, progress)?;
            record.set_disk(index, format);
            held.push(opened);
        }
        record.layer = None;
        self.renew(&vm, stage, record)
    }

    /// Moves an instance to another version of its template.
    ///
    /// Its disks then begin as those of that version, so what was written to them cannot be kept: all have to be as
    /// they were when the instance was made. A qcow2 copy of the template's disk is, if nothing was ever written to
    /// it; one whose blocks the file system shares is, if it holds the same, which takes the time to read it. The
    /// configuration stays. The VM must be built anew to be started again.
    ///
    /// # Errors
    ///
    /// [`InvalidState`](ErrorKind::InvalidState) if something was written to disks, which the error names;
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if it is no instance of a template of that name, the versions
    /// have not equally many disks, or disks were added to the VM; [`NotFound`](ErrorKind::NotFound) if one of them was removed;
    /// [`Busy`](ErrorKind::Busy) while the VM runs, or if it was changed meanwhile; [`InUse`](ErrorKind::InUse) if other
    /// VMs have its disks or disks based on them; [`Cancelled`](ErrorKind::Cancelled). Then everything is as before.
    pub fn rebase(&self, vm: &StoredVm, to: &Template, progress: &dyn Progress) -> Result<StoredVm> {
        let vm = self.vm(&vm.uuid().to_string())?;
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
            if !is_untouched(&own, &*opened, below, was, progress)? {
                written.push(own.path.display().to_string());
                continue;
            }
            let base = Base { image, format: *format, layer: to.uuid(), name };
            record.set_disk(own.index, child(&stage, own.index, &base)?);
            held.push(opened);
        }
        if !written.is_empty() {
            let what = format!("VM '{}' has written to {}", vm.name(), written.join(", "));
            return Err(Error::new(ErrorKind::InvalidState, format!("{what}, so it cannot move to {}", to.title()))
                .with_remedy("make a new instance and copy the files inside the guests, or update the guest itself"));
        }
        record.layer = Some(to.lineage());
        self.renew(&vm, stage, record)
    }

    /// The template of an instance that is to move to another one.
    fn origin(&self, vm: &StoredVm, to: &Template) -> Result<Template> {
        let refuse = |why: &str| {
            let what = format!("VM '{}' cannot move to {}: {why}", vm.name(), to.title());
            Err(Error::new(ErrorKind::InvalidConfig, what).with_remedy("make a new instance of that template"))
        };
        match vm.layer() {
            Some(Lineage { template, name, .. }) if name == to.name() => {
                let from = self.template(&template.to_string())?;
                if from.disks().len() != to.disks().len() {
                    return refuse("they have not equally many disks");
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

    /// Puts what was staged in the place of the VM.
    fn renew(&self, vm: &StoredVm, stage: Stage, record: VmRecord) -> Result<StoredVm> {
        record.write(stage.folder())?;
        vm.copy_attachments(&stage)?;
        stage.settle()?;
        let lock = self.lock_exclusive()?;
        if let Some(layer) = &record.layer {
            self.read_template(layer.template)?;
        }
        self.replace(lock, vm, Change { vm: vm.uuid(), stage, layer: None })?;
        self.read_vm(vm.uuid())
    }
}

/// Whether a disk is as it was when it was made as a copy of the disk at `below`.
fn is_untouched(
    own: &OwnDisk,
    opened: &dyn BlockBackend,
    below: &Path,
    was: &TemplateDisk,
    progress: &dyn Progress,
) -> Result<bool> {
    if opened.capacity() != was.size {
        return Ok(false);
    }
    let base = disk::inspect(&own.path, Some(own.format))?.backing.into_iter().next();
    if base.is_some_and(|base| is_same(&base.path, below)) {
        return disk::has_own_data(&own.path, own.format).map(|written| !written);
    }
    Ok(hash_disk(opened, progress)? == was.hash)
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((fs::canonicalize(one), fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
}
