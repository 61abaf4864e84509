//! Changes the configuration of a VM.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::files::{settle_disk, settle_paths};
use super::name::disk_name;
use super::stage::ALIVE;
use super::vm::{names_in, own_disks};
use super::{Change, Record, Repository, Stage, StoredVm, VmRecord};
use crate::config::{Disk, DiskSource, VmConfig};
use crate::disk::{self, Claim, ImageFormat};
use crate::net::MacAddress;
use crate::{Error, ErrorKind, Result};

impl StoredVm {
    /// A path for a disk that [`Repository::update`] will add to the VM: a free name in the VM's folder.
    pub fn new_disk_path(&self, format: ImageFormat) -> PathBuf {
        let folder = self.folder();
        // Cannot fail, because there are more numbers than disks.
        let free = (0..usize::MAX).map(|index| disk_name(index, format)).find(|name| {
            let listed = self.own_disks().iter().any(|disk| disk.name == *name);
            !listed && fs::symlink_metadata(folder.join(name)).is_err()
        });
        folder.join(free.unwrap_or_default())
    }
}

impl Repository {
    /// Changes the configuration of a VM, except its UUID. Returns the changed VM.
    ///
    /// `change` gets the configuration as returned by [`StoredVm::config`]. If it returns an error, that error is
    /// returned, and nothing changes. Concurrent updates of one VM are serialized: `change` is called again with the
    /// new configuration if the VM was changed meanwhile. It may use the repository.
    ///
    /// The VM may be running or suspended; it gets the new configuration when it is next built and started. To store
    /// changes made while it ran, such as plugged disks and limits, store its [current
    /// configuration](crate::vm::Vm::config).
    ///
    /// Disks in the VM's folder belong to the VM. To add one, create it at [`StoredVm::new_disk_path`] and add it to
    /// the configuration. **A disk that is no longer in the configuration is deleted.** Disks elsewhere stay where they
    /// are. Relative paths are resolved with the working directory and stored as absolute paths. Network interfaces
    /// without a MAC address get one.
    ///
    /// ```
    /// use xvirt_core::config::{ByteSize, Disk, VmConfig};
    /// use xvirt_core::disk::{self, ImageFormat};
    /// use xvirt_core::repository::Repository;
    ///
    /// # fn main() -> xvirt_core::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let repository = Repository::open(folder.path())?;
    /// let mut stage = repository.stage()?;
    /// let root = stage.disk_path(0, ImageFormat::Raw);
    /// disk::create(&root, ImageFormat::Raw, 1 << 30)?;
    /// let vm = stage.commit(VmConfig::new("web-1").disk(Disk::raw(root)))?;
    ///
    /// let data = vm.new_disk_path(ImageFormat::Raw);
    /// disk::create(&data, ImageFormat::Raw, 8 << 30)?;
    /// let vm = repository.update(vm.uuid(), |config| {
    ///     config.memory = ByteSize::gib(2);
    ///     config.labels.insert("tenant".to_owned(), "blue".to_owned());
    ///     config.disks.push(Disk::raw(&data));
    ///     Ok(())
    /// })?;
    /// assert_eq!(vm.config().disks.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If there is an error or the process dies, the VM is either unchanged or changed completely.
    ///
    /// - [`NotFound`](ErrorKind::NotFound): there is no such VM, or a disk that is added does not exist.
    /// - [`InvalidConfig`](ErrorKind::InvalidConfig): the configuration is invalid, has another UUID, or changes the
    ///   format of a disk; a disk, the kernel or the initrd belongs to another VM or a template of the repository, or a
    ///   disk is based on such a disk; a disk added to the VM's folder is based on another file, or is not a plain
    ///   file; or a part of the configuration is an open object, which cannot be stored.
    /// - [`InvalidState`](ErrorKind::InvalidState): the VM is suspended, and a disk that its guest uses would be
    ///   deleted.
    /// - [`Busy`](ErrorKind::Busy): a disk that would be deleted, or is added to the VM's folder, is in use.
    /// - [`InUse`](ErrorKind::InUse): another VM uses a disk that would be deleted.
    /// - Others: an added disk is damaged or cannot be read, or the repository cannot be written.
    pub fn update(&self, uuid: Uuid, mut change: impl FnMut(&mut VmConfig) -> Result<()>) -> Result<StoredVm> {
        loop {
            let vm = self.vm(&uuid.to_string())?;
            let mut config = vm.config();
            change(&mut config)?;
            if let Some(changed) = self.try_update(&vm, config)? {
                return Ok(changed);
            }
        }
    }

    /// Sets the configuration of a VM; `None` if it was changed meanwhile.
    fn try_update(&self, vm: &StoredVm, mut config: VmConfig) -> Result<Option<StoredVm>> {
        if config.uuid != vm.uuid() {
            let what = format!("{} cannot become VM {}", vm.title(), config.uuid);
            return Err(Error::new(ErrorKind::InvalidConfig, what)
                .with_remedy("keep the UUID, or create another VM: Repository::copy_vm"));
        }
        for nic in &mut config.nics {
            nic.mac.get_or_insert_with(MacAddress::random);
        }
        settle_paths(&mut config, &vm.folder())?;
        config.check()?;
        let record = vm.record().with_config(config)?;
        check_added(vm, &record.config)?;
        self.require_own_files(&record.config, &vm.folder())?;
        let dropped = self.dropped(vm, &record.config)?;
        // The locks keep others from opening these disks. With the lock, as a VM that runs may have them closed.
        let lock = self.lock_shared()?;
        let claims = dropped.iter().map(|path| claim_if_there(path)).collect::<Result<Vec<_>>>()?;
        drop(lock);

        let stage = self.stage()?;
        record.write(stage.folder())?;
        let lock = self.lock_exclusive()?;
        if !self.is_unchanged(vm)? {
            return Ok(None);
        }
        let dropped_names: Vec<_> = dropped.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        link_files(&vm.folder(), &dropped_names, &stage)?;
        let old = self.change(&lock, Change { vm: vm.uuid(), stage, layer: None })?;
        drop(lock);
        self.empty(old);
        drop(claims);
        Ok(Some(StoredVm::new(self.clone(), record)))
    }

    /// The disks in the VM's folder that are no longer in the configuration and that no other VM uses.
    fn dropped(&self, vm: &StoredVm, config: &VmConfig) -> Result<Vec<PathBuf>> {
        let mut own = vm.own_disks();
        own.retain(|own| !config.disks.iter().any(|disk| path_of(disk) == Some(Path::new(&own.name))));
        let suspended = vm.record().suspended.iter().flat_map(|suspended| own_disks(&suspended.config, &vm.folder()));
        let suspended: Vec<_> = suspended.map(|own| own.name).collect();
        if own.iter().any(|own| suspended.contains(&own.name)) {
            vm.require_halted("delete a disk of")?;
        }
        if !own.is_empty() {
            self.require_unused(vm.uuid())?;
        }
        Ok(own.into_iter().map(|own| own.path).collect())
    }
}

/// Checks the disks that the VM did not have before.
fn check_added(vm: &StoredVm, config: &VmConfig) -> Result<()> {
    let before = vm.record().config.disks.iter().filter_map(image).collect::<Vec<_>>();
    for (path, format) in config.disks.iter().filter_map(image) {
        match before.iter().find(|before| before.0 == path) {
            Some((_, before)) if *before != format => {
                let what = format!(
                    "disk {} of {} has the format {before}, which cannot change to {format}",
                    path.display(),
                    vm.title()
                );
                return Err(Error::new(ErrorKind::InvalidConfig, what)
                    .with_remedy("keep its format: a guest could have made a raw disk look like an image with any file as backing file"));
            }
            Some(_) => {}
            None => settle_disk(path, format, &vm.folder())?,
        }
    }
    Ok(())
}

/// Locks a disk, if it exists.
pub(crate) fn claim_if_there(path: &Path) -> Result<Option<Claim>> {
    match disk::claim(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        claimed => claimed.map(Some),
    }
}

/// Links the files of a VM's folder into the stage that will replace it, except its record and those called `dropped`.
/// Those that are linked already stay. A file that others create later is lost if the caller does not hold the lock.
pub(crate) fn link_files(folder: &Path, dropped: &[impl AsRef<str>], stage: &Stage) -> Result<()> {
    let replaced = [VmRecord::FILE, ALIVE];
    let names = names_in(folder)?;
    let left_out = |name: &str| replaced.contains(&name) || dropped.iter().any(|dropped| dropped.as_ref() == name);
    for name in names.iter().map(String::as_str).filter(|name| !left_out(name)) {
        // A file that was being created there may be gone again.
        let (from, to) = (folder.join(name), stage.folder().join(name));
        link_file(&from, &to).or_else(|error| match error.kind() {
            ErrorKind::NotFound => Ok(()),
            ErrorKind::AlreadyExists if is_same_file(&from, &to) => Ok(()),
            _ => Err(error),
        })?;
    }
    Ok(())
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let id = |path| fs::symlink_metadata(path).map(|file| (file.dev(), file.ino())).ok();
    id(one).is_some() && id(one) == id(other)
}

/// Gives a file of the repository another name in it.
pub(crate) fn link_file(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to).map_err(|error| {
        let remedy = link_remedy(&error);
        Error::io(format!("cannot link {} to {}", from.display(), to.display()), error).with_remedy(remedy)
    })
}

fn link_remedy(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::TooManyLinks {
        return "its file has as many names as the file system allows: resume or remove some of the suspended VMs with the \
                same memory, or seal one again and use that template";
    }
    if error.kind() == io::ErrorKind::NotFound {
        return "it may have been removed meanwhile; otherwise see what Repository::check finds";
    }
    "keep the repository on a file system that supports hard links, and create no folders inside those of VMs"
}

fn image(disk: &Disk) -> Option<(&Path, ImageFormat)> {
    match &disk.source {
        DiskSource::Image { path, format } => Some((path, *format)),
        DiskSource::Descriptors(_) | DiskSource::Backend(_) => None,
    }
}

fn path_of(disk: &Disk) -> Option<&Path> {
    image(disk).map(|image| image.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_a_file_from_being_linked_has_a_remedy_of_its_own() {
        let remedy = |number| link_remedy(&io::Error::from_raw_os_error(number));
        assert!(remedy(libc::EMLINK).contains("as many names"), "{}", remedy(libc::EMLINK));
        assert!(remedy(libc::EPERM).contains("supports hard links"), "{}", remedy(libc::EPERM));
        assert!(remedy(libc::ENOENT).contains("Repository::check"), "{}", remedy(libc::ENOENT));
    }
}
