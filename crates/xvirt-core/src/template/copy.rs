//! Copies of a stored VM: XenServer's `VM.clone` and `VM.copy`.

use super::identity::renew;
#[cfg(doc)]
use crate::ErrorKind;
use crate::Result;
use crate::config::DiskSource;
use crate::disk::{self, Access};
use crate::progress::Progress;
use crate::repository::{Repository, StoredVm, VmRecord};

/// What the disks of a copy share with those of the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    /// The template that both are based on.
    Template,
    Nothing,
}

impl Repository {
    /// Makes a VM of what a halted VM is now, sharing as much as can be shared without changing the original: neither
    /// depends on the other afterwards.
    ///
    /// On a file system that shares blocks between files (XFS, Btrfs) this takes a moment. Elsewhere what an instance of
    /// a template has written itself is copied, and of a VM that is no instance everything; to have that shared too, make
    /// a template of it ([`seal`](Self::seal)) and instances of the template. Disks outside the repository are copied
    /// into it.
    ///
    /// The copy has the labels, the attachments and the template of the original. Its UUID, its generation ID and the
    /// addresses of its network interfaces are new; an interface on a tap of a given name gets a tap of its own, on the
    /// same bridge, and no ports of the host are forwarded to it. The disks of the original are locked meanwhile.
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
    /// [`NotFound`](ErrorKind::NotFound) if the VM, a disk of it or its template was removed; [`Busy`](ErrorKind::Busy) if
    /// it is not halted or a disk is in use otherwise; [`InvalidConfig`](ErrorKind::InvalidConfig) for a name that cannot
    /// be one; [`Cancelled`](ErrorKind::Cancelled); or a disk cannot be read or its copy not be written. Then there is no
    /// copy.
    pub fn clone_vm(&self, vm: &StoredVm, name: impl Into<String>, progress: &dyn Progress) -> Result<StoredVm> {
        self.copy_sharing(Sharing::Template, vm, name.into(), progress)
    }

    /// Makes a VM of what a halted VM is now, as [`clone_vm`](Self::clone_vm) does, but with disks that depend on nothing,
    /// not even on a template: each holds all of its data.
    ///
    /// A disk keeps its format, and holes stay holes. What no template is below is still shared by a file system that
    /// shares blocks between files, which nobody notices but by the space it takes.
    ///
    /// # Errors
    /// As [`clone_vm`](Self::clone_vm).
    pub fn copy_vm(&self, vm: &StoredVm, name: impl Into<String>, progress: &dyn Progress) -> Result<StoredVm> {
        self.copy_sharing(Sharing::Nothing, vm, name.into(), progress)
    }

    fn copy_sharing(&self, sharing: Sharing, vm: &StoredVm, name: String, progress: &dyn Progress) -> Result<StoredVm> {
        let vm = self.vm(&vm.uuid().to_string())?;
        let layer = vm.layer().filter(|_| sharing == Sharing::Template).cloned();
        let mut config = vm.config();
        let disks = config.disks.clone();
        renew(&mut config, name);
        let mut record = VmRecord::new(config, layer.clone())?;
        let mut stage = self.stage()?;
        let own = vm.own_disks();
        let mut held = Vec::new();
        for (index, disk) in disks.iter().enumerate() {
            let DiskSource::Image { path, format } = &disk.source else { continue };
            let own = own.iter().any(|own| own.index == index);
            // For writing, because that also repairs what a killed process left.
            let access = if own { Access::ReadWrite } else { Access::ReadOnly };
            held.push(disk::open(path, Some(*format), access)?);
            let Some(opened) = held.last() else { continue };
            let target = stage.disk_path(index, *format);
            match own && layer.is_some() {
                true => disk::copy_file(path, &target, progress)?,
                false => disk::copy(&**opened, Some((path, *format)), &target, *format, progress)?,
            }
            record.set_disk(index, *format);
        }
        vm.copy_attachments(&stage)?;
        stage.commit_record(record, |_| {
            // Nobody can have removed it since without knowing that it is used.
            layer.iter().try_for_each(|layer| self.read_template(layer.template).map(drop))
        })
    }
}
