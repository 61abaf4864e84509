//! Where something is made before it exists.

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

/// The file whose lock says that the maker lives.
pub(super) const ALIVE: &str = "alive";

/// Where the disks of a new VM are made, until it is committed. Dropped without that, everything in it is removed.
///
/// It may be used from any thread of the process that made it; a child of fork(2) that drops it changes nothing. Should
/// the process die, the next opening of the repository clears it away.
#[derive(Debug)]
pub struct Stage {
    process: Process,
    repository: Repository,
    id: Uuid,
    folder: PathBuf,
    /// Dropped before the folder is removed, so that there is a descriptor for that.
    alive: Option<FileLock>,
    /// Whether what was made has its place, or others see to it that it gets it.
    committed: bool,
}

impl Repository {
    /// Begins to make a VM.
    ///
    /// # Errors
    /// The repository cannot be written to.
    pub fn stage(&self) -> Result<Stage> {
        let id = Uuid::new_v4();
        let folder = self.place(Directory::Staging, id);
        let cannot = |error| Error::io(format!("cannot make {}", folder.display()), error);
        // Else somebody who clears away could come between the folder and the lock in it.
        let _lock = self.lock_exclusive()?;
        DirBuilder::new().mode(0o700).create(&folder).map_err(cannot)?;
        let alive = alive(&folder).inspect_err(|_| {
            // The error that is reported matters more than that a folder stays. There is nothing else in it.
            let _ = fs::remove_file(folder.join(ALIVE));
            let _ = fs::remove_dir(&folder);
        })?;
        let process = Process::current();
        Ok(Stage { process, repository: self.clone(), id, folder, alive: Some(alive), committed: false })
    }
}

/// Makes the file whose lock says that the maker lives, locked.
fn alive(folder: &Path) -> Result<FileLock> {
    let path = folder.join(ALIVE);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let file = file.map_err(|error| Error::io(format!("cannot make {}", path.display()), error))?;
    FileLock::take(&path, file)?
        .ok_or_else(|| Error::new(ErrorKind::Busy, format!("{} is locked by somebody else", path.display())))
}

impl Stage {
    /// Where to make the disk of this number, counted from 0, if it has this format.
    pub fn disk_path(&self, index: usize, format: ImageFormat) -> PathBuf {
        self.folder.join(disk_name(index, format))
    }

    /// Keeps a small file with the VM, such as the description an appliance came with.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if the name has other characters than letters, digits, dots, dashes
    /// and underscores, or begins with a dot, or if there are more than 16 MiB;
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) for a name that was used;
    /// [`InvalidState`](ErrorKind::InvalidState) after the commit and in a child of fork(2); or the file cannot be written, and nothing of it is left.
    pub fn attach(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.require_uncommitted()?;
        vm::write_attachment(&self.folder, name, bytes)
    }

    /// Makes what was staged a VM, at once and completely.
    ///
    /// Disks of `config` that are files in the stage move with it; those outside the repository are left as and where they
    /// are. Relative paths are taken from the working directory, and kept as full paths. Network interfaces without an
    /// address get one.
    ///
    /// # Errors
    ///
    /// After an error there is no new VM, everything staged stays, and the commit can be tried again.
    ///
    /// - [`AlreadyExists`](ErrorKind::AlreadyExists): there is a VM with this UUID.
    /// - [`Busy`](ErrorKind::Busy): a disk is still open.
    /// - [`InvalidConfig`](ErrorKind::InvalidConfig): a disk, the kernel or the initrd belongs to another VM or a template
    ///   of the repository, or a disk is based on such a disk, which would be gone once its owner is removed; a disk in
    ///   the stage is based on another file, or is not a plain file; or a part of the configuration is an open object,
    ///   which cannot be kept.
    /// - [`NoSpace`](ErrorKind::NoSpace): the file system is full.
    /// - [`InvalidState`](ErrorKind::InvalidState): it was committed already, or the stage was made by a process that this
    ///   one was forked from.
    /// - [`NotFound`](ErrorKind::NotFound): a disk is missing, in the stage or outside the repository.
    /// - Others: a disk is damaged, is no image file or block device, or cannot be read.
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

    /// As [`commit`](Self::commit), for disks that are in use, and whose contents are on stable storage.
    pub(crate) fn commit_in_use(&mut self, mut config: VmConfig) -> Result<StoredVm> {
        settle_paths(&mut config, &self.folder)?;
        self.commit_record(VmRecord::new(config, None)?, |_| Ok(()))
    }

    /// Makes it the VM of this record, whose disks are staged and on stable storage, if `check` agrees at the end. After a
    /// failure it can be tried again, with this or another record.
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

    /// Gives what was made its place: from now on it exists. After a failure it is still staged.
    pub(crate) fn put(&mut self, _: &ExclusiveLock, room: Directory, id: Uuid) -> Result<()> {
        settle_in(&self.folder, &self.repository.place(room, id), &self.repository.room(room))?;
        self.committed = true;
        Ok(())
    }

    /// Puts the names of what was made on stable storage.
    pub(crate) fn settle(&self) -> Result<()> {
        sync_folder(&self.folder)
    }

    /// Leaves it to others to give what was made its place.
    pub(crate) fn keep(&mut self) {
        self.committed = true;
    }

    fn require_uncommitted(&self) -> Result<()> {
        self.process.require("what was staged")?;
        if self.committed {
            return Err(Error::new(ErrorKind::InvalidState, "what was staged is committed already")
                .with_remedy("make another stage for another VM"));
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
        // Somebody who opens the repository may be faster.
        let gone = || fs::remove_dir_all(&self.folder).or_else(absent_is(())).is_ok();
        if !self.committed && !gone() {
            let folder = self.folder.display();
            // This may be dropped because of a panic, and the log subscriber may panic, too.
            let _ = caught(|| tracing::warn!("cannot remove {folder}; the next opening of the repository will"));
        }
    }
}

/// Gives a staged folder its place in a room. After a failure it is still staged.
pub(super) fn settle_in(staged: &Path, place: &Path, room: &Path) -> Result<()> {
    move_into(staged, place, room)?;
    settled(place);
    Ok(())
}

/// Removes what only a stage needs from what has its place. Only then, because without it a stage is taken for that of a
/// dead maker, and cleared away.
pub(super) fn settled(place: &Path) {
    let alive = place.join(ALIVE);
    if let Err(error) = fs::remove_file(&alive).or_else(absent_is(())) {
        tracing::warn!("cannot remove {}, which means nothing there: {error}", alive.display());
    }
}

/// Moves what dead processes staged into the trash; answers everything that is in the trash.
pub(super) fn clear(repository: &Repository) -> Result<Vec<Uuid>> {
    let lock = repository.lock_exclusive()?;
    for id in repository.ids(Directory::Staging)? {
        if !is_alive(&repository.place(Directory::Staging, id))? {
            repository.discard(&lock, Directory::Staging, id)?;
        }
    }
    repository.ids(Directory::Trash)
}

fn is_alive(folder: &Path) -> Result<bool> {
    let path = folder.join(ALIVE);
    let opened = OpenOptions::new().write(true).open(&path).map(Some).or_else(absent_is(None));
    match opened.map_err(|error: io::Error| Error::io(format!("cannot open {}", path.display()), error))? {
        Some(file) => Ok(FileLock::take(&path, file)?.is_none()),
        None => Ok(false),
    }
}
