//! Copies of a stored VM: XenServer's `VM.clone` and `VM.copy`.

use uuid::Uuid;

use super::identity::renew;
#[cfg(doc)]
use crate::ErrorKind;
use crate::Result;
use crate::config::DiskSource;
use crate::disk::{self, Access};
use crate::progress::Progress;
use crate::repository::{Repository, Snapshot, StoredVm, VmRecord, child, disk_name};
use crate::vm::{Verb, Vm};

/// The VM to copy.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Original<'a> {
    /// A VM of the repository.
    Stored(&'a StoredVm),
    /// A halted VM of the repository, which lists the copy in its [`current_operations`](Vm::current_operations). Its
    /// other verbs wait meanwhile, so the progress observer must not call any.
    Halted(&'a Vm),
    /// A snapshot. The copy has its disks and its configuration, and starts from its disks: it does not have the memory
    /// of a checkpoint.
    Snapshot(&'a Snapshot),
}

impl<'a> From<&'a StoredVm> for Original<'a> {
    fn from(vm: &'a StoredVm) -> Self {
        Self::Stored(vm)
    }
}

impl<'a> From<&'a Vm> for Original<'a> {
    fn from(vm: &'a Vm) -> Self {
        Self::Halted(vm)
    }
}

impl<'a> From<&'a Snapshot> for Original<'a> {
    fn from(snapshot: &'a Snapshot) -> Self {
        Self::Snapshot(snapshot)
    }
}

/// What the disks of a copy may share with those of the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    /// The template or the snapshot on which both are based, or the snapshot that is copied.
    Base,
    Nothing,
}

impl Sharing {
    fn verb(self) -> Verb {
        match self {
            Self::Base => Verb::Clone,
            Self::Nothing => Verb::Copy,
        }
    }
}

impl Repository {
    /// Copies a halted VM or a snapshot, sharing as much data as possible without changing the original. Neither VM
    /// depends on the other afterwards.
    ///
    /// A snapshot is copied in a time that does not depend on the size of its disks.
    ///
    /// On a file system with reflinks (XFS, Btrfs) this is fast. Elsewhere, the data that an instance of a template has
    /// written is copied, and for other VMs everything is; to share that as well, make a template of the VM
    /// ([`seal`](Self::seal)) and create instances of it. Disks outside the repository are copied into it.
    ///
    /// The copy has the labels, the attachments and the template of the original. Its UUID, generation ID and MAC
    /// addresses are new; an interface on a named tap gets a tap of its own on the same bridge, and no host ports are
    /// forwarded to it. The disks of the original are locked during the copy.
    ///
    /// ```no_run
    /// use xvirt_core::repository::Repository;
    ///
    /// # fn main() -> xvirt_core::Result<()> {
    /// let repository = Repository::open("/var/lib/xvirt")?;
    /// let web = repository.vm("web-1")?;
    /// let trial = repository.clone_vm(&web, "web-1-trial", &())?;
    /// assert_ne!(trial.uuid(), web.uuid());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the VM, one of its disks or its template was removed, or the VM is not in
    /// the repository; [`InvalidState`](ErrorKind::InvalidState) if a [`Vm`] is not halted; [`Busy`](ErrorKind::Busy)
    /// if it is not halted or a disk is in use otherwise; [`InvalidConfig`](ErrorKind::InvalidConfig) for an invalid
    /// name; [`Cancelled`](ErrorKind::Cancelled); or a disk cannot be read, or its copy cannot be written. Then there
    /// is no copy.
    pub fn clone_vm<'a>(
        &self,
        vm: impl Into<Original<'a>>,
        name: impl Into<String>,
        progress: &dyn Progress,
    ) -> Result<StoredVm> {
        self.copy_original(Sharing::Base, vm.into(), name.into(), progress)
    }

    /// Copies a halted VM or a snapshot like [`clone_vm`](Self::clone_vm), but with independent disks: each contains
    /// all of its data and has no backing file, not even a template.
    ///
    /// A disk keeps its format, and holes stay holes. A file system with reflinks still shares the data that does not
    /// come from a template, which only affects the space used.
    ///
    /// # Errors
    /// As [`clone_vm`](Self::clone_vm).
    pub fn copy_vm<'a>(
        &self,
        vm: impl Into<Original<'a>>,
        name: impl Into<String>,
        progress: &dyn Progress,
    ) -> Result<StoredVm> {
        self.copy_original(Sharing::Nothing, vm.into(), name.into(), progress)
    }

    fn copy_original(
        &self,
        sharing: Sharing,
        original: Original<'_>,
        name: String,
        progress: &dyn Progress,
    ) -> Result<StoredVm> {
        match original {
            Original::Stored(vm) => self.copy_sharing(sharing, vm.uuid(), name, progress),
            Original::Snapshot(snapshot) => self.copy_snapshot(sharing, snapshot, name, progress),
            Original::Halted(vm) => {
                let operation = vm.begin_long(sharing.verb())?;
                self.copy_sharing(sharing, vm.uuid(), name, &operation.progress(progress))
            }
        }
    }

    fn copy_sharing(&self, sharing: Sharing, vm: Uuid, name: String, progress: &dyn Progress) -> Result<StoredVm> {
        let vm = self.vm(&vm.to_string())?;
        vm.require_halted("copy")?;
        let layer = vm.layer().filter(|_| sharing == Sharing::Base).cloned();
        let snapshot = vm.record().snapshot.filter(|_| sharing == Sharing::Base);
        let mut config = vm.config();
        let disks = config.disks.clone();
        renew(&mut config, name);
        let mut record = VmRecord::new(config, layer.clone())?;
        record.snapshot = snapshot;
        let mut stage = self.stage()?;
        let own = vm.own_disks();
        let mut held = Vec::new();
        for (index, disk) in disks.iter().enumerate() {
            let DiskSource::Image { path, format } = &disk.source else { continue };
            let own = own.iter().any(|own| own.index == index);
            // Opened for writing, because that also repairs an image that a killed process left dirty.
            let access = if own { Access::ReadWrite } else { Access::ReadOnly };
            held.push(disk.open_backend(access)?);
            let Some(opened) = held.last() else { continue };
            let target = stage.disk_path(index, *format);
            match own && (layer.is_some() || snapshot.is_some()) {
                true => disk::copy_file(path, &target, progress)?,
                false => disk::copy(&**opened, Some((path, *format)), &target, *format, progress)?,
            }
            record.set_disk(index, disk_name(index, *format), *format);
        }
        vm.copy_attachments(&stage)?;
        stage.commit_record(record, |_| {
            // A template in use is not removed without this lock, so it still exists if its record does.
            layer.iter().try_for_each(|layer| self.read_template(layer.template).map(drop))?;
            snapshot.iter().try_for_each(|snapshot| self.read_snapshot(*snapshot).map(drop))
        })
    }

    fn copy_snapshot(
        &self,
        sharing: Sharing,
        snapshot: &Snapshot,
        name: String,
        progress: &dyn Progress,
    ) -> Result<StoredVm> {
        let mut stage = self.stage()?;
        let mut config = snapshot.record().config.clone();
        renew(&mut config, name);
        let layer = snapshot.record().layer.clone().filter(|_| sharing != Sharing::Nothing);
        let mut record = VmRecord::new(config, layer)?;
        record.snapshot = Some(snapshot.uuid()).filter(|_| sharing != Sharing::Nothing);
        for own in snapshot.images() {
            let (name, format) = match sharing {
                Sharing::Base => {
                    let base = own.as_base(snapshot);
                    let made = child(&stage, own.index, &base)?;
                    (made.name, made.format)
                }
                Sharing::Nothing => {
                    let name = disk_name(own.index, own.format);
                    let opened = disk::open(&own.path, Some(own.format), Access::ReadOnly)?;
                    let target = stage.disk_path(own.index, own.format);
                    disk::copy(&*opened, Some((&own.path, own.format)), &target, own.format, progress)?;
                    (name, own.format)
                }
            };
            record.set_disk(own.index, name, format);
        }
        stage.commit_record(record, |_| self.require_snapshot(snapshot.uuid()).map(drop))
    }
}
