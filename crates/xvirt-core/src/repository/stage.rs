//! Objects in preparation.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::files::{settle_disk, settle_paths};
use super::lock::FileLock;
use super::name::disk_name;
use super::store::{ExclusiveLock, absent_is, move_into, sync_folder};
use super::vm::{self, StoredVm, VmRecord};
use super::{Directory, Record, Repository};
use crate::config::{DiskSource, VmConfig};
use crate::disk::ImageFormat;
use crate::net::MacAddress;
use crate::process::Process;
use crate::thread::caught;
use crate::{Error, ErrorKind, Result};

/// The file whose lock shows that the owner of the stage is alive.
pub(super) const ALIVE: &str = "alive";

/// A folder in which the disks of a new VM are created until it is committed. Dropping it uncommitted removes
/// everything in it.
///
/// It may be used from any thread of the process that created it; dropping it in a child of fork(2) has no effect. If
/// the process dies, the next opening of the repository removes it.
#[derive(Debug)]
pub struct Stage {
    process: Process,
    repository: Repository,
    id: Uuid,
    folder: PathBuf,
    /// Dropped before the folder is removed, which frees a descriptor for that.
    alive: Option<FileLock>,
    /// Whether the object is in its place, or other code is responsible for moving it there.
    committed: bool,
}

impl Repository {
    /// Starts to prepare a VM.
    ///
    /// # Errors
    /// The repository cannot be written to.
    pub fn stage(&self) -> Result<Stage> {
        let id = Uuid::new_v4();
        let folder = self.place(Directory::Staging, id);
        let cannot = |error| Error::io(format!("cannot create {}", folder.display()), error);
        // Without the lock, cleanup in another process could come between creating the folder and locking the file in
        // it.
        let _lock = self.lock_exclusive()?;
        DirBuilder::new().mode(0o700).create(&folder).map_err(cannot)?;
        let alive = create_locked(&folder, ALIVE).inspect_err(|_| {
            // The reported error matters more than a leftover folder. There is nothing else in it.
            let _ = fs::remove_file(folder.join(ALIVE));
            let _ = fs::remove_dir(&folder);
        })?;
        let process = Process::current();
        Ok(Stage { process, repository: self.clone(), id, folder, alive: Some(alive), committed: false })
    }
}

/// Creates and locks a file that shows that the owner of a folder is alive.
pub(super) fn create_locked(folder: &Path, name: &str) -> Result<FileLock> {
    let path = folder.join(name);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let file = file.map_err(|error| Error::io(format!("cannot create {}", path.display()), error))?;
    FileLock::take(&path, file)?
        .ok_or_else(|| Error::new(ErrorKind::Busy, format!("{} is locked by another process", path.display())))
}

impl Stage {
    /// The path for the disk of this number, counted from 0, with this format.
    pub fn disk_path(&self, index: usize, format: ImageFormat) -> PathBuf {
        self.folder.join(disk_name(index, format))
    }

    /// Stores a small file with the VM, such as the description of an imported appliance.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if the name contains characters other than letters, digits, dots,
    /// dashes and underscores, or begins with a dot, or if there are more than 16 MiB;
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) for a name in use; [`InvalidState`](ErrorKind::InvalidState) after
    /// the commit and in a child of fork(2); or the file cannot be written, and nothing of it is left.
    pub fn attach(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.require_uncommitted()?;
        vm::write_attachment(&self.folder, name, bytes)
    }

    /// Turns the stage into a VM, atomically.
    ///
    /// Disks of `config` that are files in the stage move with it; disks outside the repository stay where they are.
    /// Relative paths are resolved with the working directory and stored as absolute paths. Network interfaces without
    /// a MAC address get one.
    ///
    /// # Errors
    ///
    /// After an error there is no new VM, everything stays staged, and the commit can be retried.
    ///
    /// - [`AlreadyExists`](ErrorKind::AlreadyExists): there is a VM with this UUID.
    /// - [`Busy`](ErrorKind::Busy): a disk is still open.
    /// - [`InvalidConfig`](ErrorKind::InvalidConfig): a disk, the kernel or the initrd belongs to another VM or a
    ///   template of the repository, or a disk is based on such a disk, which could be removed with its owner; a disk
    ///   in the stage is based on another file, or is not a plain file; or a part of the configuration is an open
    ///   object, which cannot be stored.
    /// - [`NoSpace`](ErrorKind::NoSpace): the file system is full.
    /// - [`InvalidState`](ErrorKind::InvalidState): it was committed already, or the stage belongs to the parent
    ///   process.
    /// - [`NotFound`](ErrorKind::NotFound): a disk is missing, in the stage or outside the repository.
    /// - Others: a disk is damaged, is not an image file or block device, or cannot be read.
    pub fn commit(&mut self, mut config: VmConfig) -> Result<StoredVm> {
        self.require_uncommitted()?;
        self.repository.require_new(config.uuid)?;
        settle_paths(&mut config, &self.folder)?;
        for disk in &config.disks {
            if let DiskSource::Image { path, format } = &disk.source {
                settle_disk(path, *format, &self.folder)?;
            }
        }
        self.repository.require_own_files(&config, &self.folder)?;
        for nic in &mut config.nics {
            nic.mac.get_or_insert_with(MacAddress::random);
        }
        self.commit_record(VmRecord::new(config, None)?, |_| Ok(()))
    }

    /// Like [`commit`](Self::commit), for disks in use whose contents are on stable storage.
    pub(crate) fn commit_in_use(&mut self, mut config: VmConfig) -> Result<StoredVm> {
        settle_paths(&mut config, &self.folder)?;
        self.commit_record(VmRecord::new(config, None)?, |_| Ok(()))
    }

    /// Commits the stage as the VM of this record, whose disks are staged and on stable storage, if `check` succeeds at
    /// the end. After a failure it can be retried, with this or another record.
    pub(crate) fn commit_record(
        &mut self,
        record: VmRecord,
        check: impl FnOnce(&ExclusiveLock) -> Result<()>,
    ) -> Result<StoredVm> {
        self.require_uncommitted()?;
        record.write(&self.folder)?;
        let vm = StoredVm::new(self.repository.clone(), record);
        self.settle()?;
        let lock = self.repository.lock_exclusive()?;
        check(&lock)?;
        self.repository.require_new(vm.uuid())?;
        self.put(&lock, Directory::Vms, vm.uuid())?;
        Ok(vm)
    }

    /// Moves the object to its place, which makes it exist. After a failure it is still staged.
    pub(crate) fn put(&mut self, _: &ExclusiveLock, directory: Directory, id: Uuid) -> Result<()> {
        settle_in(&self.folder, &self.repository.place(directory, id), &self.repository.directory(directory))?;
        self.committed = true;
        Ok(())
    }

    /// Puts the directory entries of the object on stable storage.
    pub(crate) fn settle(&self) -> Result<()> {
        sync_folder(&self.folder)
    }

    /// Leaves moving the object to other code.
    pub(crate) fn keep(&mut self) {
        self.committed = true;
    }

    fn require_uncommitted(&self) -> Result<()> {
        self.process.require("what was staged")?;
        if self.committed {
            return Err(Error::new(ErrorKind::InvalidState, "the stage is committed already")
                .with_remedy("create another stage for another VM"));
        }
        Ok(())
    }

    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.process.is_current() {
            return;
        }
        drop(self.alive.take());
        // Another process that opens the repository may remove it first.
        let gone = || fs::remove_dir_all(&self.folder).or_else(absent_is(())).is_ok();
        if !self.committed && !gone() {
            let folder = self.folder.display();
            // This may be dropped during a panic, and the log subscriber may panic as well.
            let _ = caught(|| tracing::warn!("cannot remove {folder}; the next opening of the repository will"));
        }
    }
}

/// Moves a staged folder to its place. After a failure it is still staged.
pub(super) fn settle_in(staged: &Path, place: &Path, directory: &Path) -> Result<()> {
    move_into(staged, place, directory)?;
    settled(place);
    Ok(())
}

/// Removes the file that only a stage needs. This comes last, because a stage without it looks abandoned and would be
/// removed.
pub(super) fn settled(place: &Path) {
    let alive = place.join(ALIVE);
    if let Err(error) = fs::remove_file(&alive).or_else(absent_is(())) {
        tracing::warn!("cannot remove {}, which is harmless: {error}", alive.display());
    }
}

/// Moves abandoned stages to the trash; returns everything in the trash.
pub(super) fn clear(repository: &Repository) -> Result<Vec<Uuid>> {
    let lock = repository.lock_exclusive()?;
    for id in repository.ids(Directory::Staging)? {
        if !is_locked(&repository.place(Directory::Staging, id), ALIVE)? {
            repository.discard(&lock, Directory::Staging, id)?;
        }
    }
    repository.ids(Directory::Trash)
}

/// Whether such a file is there and its owner is alive.
pub(super) fn is_locked(folder: &Path, name: &str) -> Result<bool> {
    let path = folder.join(name);
    let opened = OpenOptions::new().write(true).open(&path).map(Some).or_else(absent_is(None));
    match opened.map_err(|error: io::Error| Error::io(format!("cannot open {}", path.display()), error))? {
        Some(file) => Ok(FileLock::take(&path, file)?.is_none()),
        None => Ok(false),
    }
}
