//! Where something is made before it exists.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::mem;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf, absolute};

use uuid::Uuid;

use super::lock::FileLock;
use super::name::{disk_name, is_disk_name};
use super::store::{Alone, absent_is, rename, sync_folder};
use super::vm::{self, StoredVm, VmRecord};
use super::{Record, Repository, Room};
use crate::config::{Disk, DiskSource, VmConfig};
use crate::disk::{self, Access, ImageFormat};
use crate::net::MacAddress;
use crate::{Error, ErrorKind, Result};

/// The file whose lock says that the maker lives.
const ALIVE: &str = "alive";

/// Where the disks of a new VM are made, until it is committed. Dropped without that, everything in it is gone.
///
/// It may be used from any thread. Should the process die, the next opening of the repository clears it away.
#[derive(Debug)]
pub struct Stage {
    repository: Repository,
    id: Uuid,
    folder: PathBuf,
    _alive: FileLock,
    /// Whether what was made has its place, or is to get it.
    kept: bool,
}

impl Repository {
    /// Begins to make a VM.
    ///
    /// # Errors
    /// The repository cannot be written to.
    pub fn stage(&self) -> Result<Stage> {
        let id = Uuid::new_v4();
        let folder = self.place(Room::Staging, id);
        let cannot = |error| Error::io(format!("cannot make {}", folder.display()), error);
        // Else somebody who clears away could come between the folder and the lock in it.
        let _alone = self.alone()?;
        DirBuilder::new().mode(0o700).create(&folder).map_err(cannot)?;
        let path = folder.join(ALIVE);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(cannot)?;
        let alive = FileLock::take(&path, file)?
            .ok_or_else(|| Error::new(ErrorKind::Busy, format!("{} is locked by somebody else", path.display())))?;
        Ok(Stage { repository: self.clone(), id, folder, _alive: alive, kept: false })
    }
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
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) for a name that was used; or the file cannot be written.
    pub fn attach(&self, name: &str, bytes: &[u8]) -> Result<()> {
        vm::write_attachment(&self.folder, name, bytes)
    }

    /// Makes what was staged a VM, at once and completely.
    ///
    /// Disks of `config` that are files in the stage move with it; all others are left as and where they are. Network
    /// interfaces without an address get one.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if there is a VM with this UUID; [`Busy`](ErrorKind::Busy) if a disk
    /// is still open; [`InvalidConfig`](ErrorKind::InvalidConfig) if a disk in the stage is based on another file, or if
    /// a part of the configuration is an open object that cannot be kept; or a disk is missing or damaged. Then
    /// everything staged is gone.
    pub fn commit(self, mut config: VmConfig) -> Result<StoredVm> {
        for disk in &mut config.disks {
            self.adopt(disk)?;
        }
        for nic in &mut config.nics {
            nic.mac.get_or_insert_with(MacAddress::random);
        }
        self.commit_record(VmRecord::new(config, None)?, |_| Ok(()))
    }

    /// As [`commit`](Self::commit), for disks that are in use, and whose contents are on stable storage.
    pub(crate) fn commit_in_use(self, mut config: VmConfig) -> Result<StoredVm> {
        for disk in &mut config.disks {
            if let DiskSource::Image { path, .. } = &mut disk.source
                && let Some(name) = self.disk_in_stage(path)
            {
                *path = name.into();
            }
        }
        self.commit_record(VmRecord::new(config, None)?, |_| Ok(()))
    }

    /// The name of a disk, if it is in the stage.
    fn disk_in_stage(&self, path: &Path) -> Option<String> {
        let name = path.strip_prefix(&self.folder).ok().and_then(Path::to_str).filter(|name| is_disk_name(name));
        name.map(str::to_owned)
    }

    /// Makes it the VM of this record, whose disks are staged and on stable storage, if `check` agrees at the end.
    pub(crate) fn commit_record(self, record: VmRecord, check: impl FnOnce(&Alone) -> Result<()>) -> Result<StoredVm> {
        record.write(&self.folder)?;
        let repository = self.repository.clone();
        let vm = StoredVm::new(repository.clone(), record);
        self.settle()?;
        let alone = repository.alone()?;
        check(&alone)?;
        if repository.place(Room::Vms, vm.uuid()).exists() {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("there is a VM with the UUID {}", vm.uuid()))
                .remedy("give the new one another UUID, or remove the old one"));
        }
        self.put(&alone, Room::Vms, vm.uuid())?;
        Ok(vm)
    }

    /// Gives what was made its place: from now on it exists.
    pub(crate) fn put(self, _: &Alone, room: Room, id: Uuid) -> Result<()> {
        let repository = self.repository.clone();
        settle_in(&self.folder, &repository.place(room, id))?;
        self.keep();
        sync_folder(&repository.room(room))
    }

    /// Puts the names of what was made on stable storage.
    pub(crate) fn settle(&self) -> Result<()> {
        sync_folder(&self.folder)
    }

    /// Leaves it to others to give what was made its place.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }

    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Checks a disk and puts it on stable storage, if it is in the stage; and makes the path what a record says.
    fn adopt(&self, disk: &mut Disk) -> Result<()> {
        let DiskSource::Image { path, format } = &mut disk.source else { return Ok(()) };
        let full =
            absolute(&*path).map_err(|error| Error::io(format!("cannot find disk {}", path.display()), error))?;
        let Some(name) = self.disk_in_stage(&full) else {
            *path = full;
            return Ok(());
        };
        let info = disk::inspect(&full, Some(*format))?;
        if let Some(below) = info.backing.first() {
            let what = format!("disk {} is based on {}", full.display(), below.path.display());
            return Err(Error::new(ErrorKind::InvalidConfig, what)
                .remedy("copy the whole disk, so that it depends on nothing: qemu-img convert -O qcow2 OLD NEW"));
        }
        // It fails for a disk that is still written to, and for one that its writer did not finish.
        let opened = disk::open(&full, Some(*format), Access::ReadOnly)?;
        let sync = || File::open(&full)?.sync_all();
        sync().map_err(|error| Error::io(format!("cannot write disk {}", full.display()), error))?;
        drop(opened);
        *path = name.into();
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let gone = mem::replace(&mut self.kept, true) || fs::remove_dir_all(&self.folder).is_ok();
        if !gone {
            tracing::warn!("cannot remove {}; the next opening of the repository will", self.folder.display());
        }
    }
}

/// Gives a staged folder its place. Its maker matters no more from here on, for who holds the repository alone.
pub(super) fn settle_in(staged: &Path, place: &Path) -> Result<()> {
    let alive = staged.join(ALIVE);
    fs::remove_file(&alive)
        .or_else(absent_is(()))
        .map_err(|error| Error::io(format!("cannot remove {}", alive.display()), error))?;
    rename(staged, place)
}

/// Moves what dead processes staged into the trash; answers everything that is in the trash.
pub(super) fn clear(repository: &Repository) -> Result<Vec<Uuid>> {
    let alone = repository.alone()?;
    for id in repository.ids(Room::Staging)? {
        if !is_alive(&repository.place(Room::Staging, id))? {
            repository.discard(&alone, Room::Staging, id)?;
        }
    }
    repository.ids(Room::Trash)
}

fn is_alive(folder: &Path) -> Result<bool> {
    let path = folder.join(ALIVE);
    let opened = OpenOptions::new().write(true).open(&path).map(Some).or_else(absent_is(None));
    match opened.map_err(|error: io::Error| Error::io(format!("cannot open {}", path.display()), error))? {
        Some(file) => Ok(FileLock::take(&path, file)?.is_none()),
        None => Ok(false),
    }
}
