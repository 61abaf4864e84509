//! The folder of a repository, its subfolders and its locks.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::lock::FileLock;
use super::record::{FORMAT, Record, explain_damage};
use super::stage;
use crate::{Error, ErrorKind, Result};

const LOCK: &str = "lock";
/// The remedy for a damaged marker, which contains only the format.
const RESTORE_MARKER: &str = "restore it from a copy; if no newer version of xvirt has used the repository, write \
                              {\"format\": 1} into it";

/// A folder that stores templates, VMs and their disks.
///
/// Several processes may use it at once, and all methods may be called from any thread. A clone of this value refers to
/// the same repository. Nothing is held open between calls.
#[derive(Clone, Debug)]
pub struct Repository {
    folder: Arc<Path>,
}

/// The subfolders of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Directory {
    Vms,
    Layers,
    Snapshots,
    Staging,
    Trash,
}

impl Directory {
    pub(super) const ALL: [Self; 5] = [Self::Vms, Self::Layers, Self::Snapshots, Self::Staging, Self::Trash];

    /// The name of the subfolder.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Vms => "vms",
            Self::Layers => "layers",
            Self::Snapshots => "snapshots",
            Self::Staging => "staging",
            Self::Trash => "trash",
        }
    }
}

/// The exclusive lock of the repository: no one else reads its records or changes anything.
#[derive(Debug)]
pub(crate) struct ExclusiveLock {
    _lock: FileLock,
}

/// The shared lock of the repository, held with others that read its records.
#[derive(Debug)]
pub(crate) struct SharedLock {
    _lock: FileLock,
}

/// One of the locks of the repository.
pub(crate) trait Locked {}

impl Locked for ExclusiveLock {}

impl Locked for SharedLock {}

#[derive(Serialize, Deserialize)]
struct Marker {
    format: u32,
}

impl Record for Marker {
    const FILE: &str = "repository.json";
}

impl Repository {
    /// Opens the repository in `folder`, or creates one if the folder is empty or does not exist.
    ///
    /// Unfinished work of dead processes is completed or removed.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if the folder contains other files;
    /// [`UnsupportedRepository`](ErrorKind::UnsupportedRepository) if a newer version created it;
    /// [`CorruptRepository`](ErrorKind::CorruptRepository); or the folder cannot be read and written.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let cannot = |error| failed(format!("cannot open repository {}", folder.display()), error);
        if fs::read_dir(folder).map(|mut entries| entries.next().is_none()).or_else(absent_is(true)).map_err(cannot)? {
            make_folders(folder).map_err(cannot)?;
        }
        let repository = Self { folder: fs::canonicalize(folder).map_err(cannot)?.into() };
        repository.require_marker()?;
        // An older version made no folder for snapshots.
        make_folders(&repository.folder).map_err(cannot)?;
        let trash = stage::clear(&repository)?;
        trash.into_iter().for_each(|id| repository.empty(id));
        if let Err(error) = repository.sweep_saved_states() {
            tracing::warn!("cannot remove saved states that are no longer needed, which only take space: {error}");
        }
        Ok(repository)
    }

    /// Removes the repository, if nothing is in it, and returns whether it did. The folder itself stays, empty.
    ///
    /// # Errors
    ///
    /// The folder cannot be read and written.
    pub fn remove_if_empty(self) -> Result<bool> {
        let cannot = |error| failed(format!("cannot remove repository {}", self.folder.display()), error);
        let _lock = self.lock_exclusive()?;
        for directory in Directory::ALL {
            match fs::remove_dir(self.directory(directory)).or_else(absent_is(())) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    make_folders(&self.folder).map_err(cannot)?;
                    return Ok(false);
                }
                removed => removed.map_err(cannot)?,
            }
        }
        for file in [Marker::FILE, LOCK] {
            fs::remove_file(self.folder.join(file)).or_else(absent_is(())).map_err(cannot)?;
        }
        Ok(true)
    }

    /// The absolute path of its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of one object.
    pub(crate) fn place(&self, directory: Directory, id: Uuid) -> PathBuf {
        self.directory(directory).join(id.to_string())
    }

    pub(super) fn directory(&self, directory: Directory) -> PathBuf {
        self.folder.join(directory.name())
    }

    /// Takes the exclusive lock, which is held only briefly, and completes interrupted changes.
    pub(crate) fn lock_exclusive(&self) -> Result<ExclusiveLock> {
        let lock = ExclusiveLock { _lock: FileLock::wait(&self.folder.join(LOCK), true)? };
        super::change::complete(self, &lock)?;
        Ok(lock)
    }

    /// Takes the shared lock, which is held only briefly, to read records.
    pub(crate) fn lock_shared(&self) -> Result<SharedLock> {
        loop {
            let lock = SharedLock { _lock: FileLock::wait(&self.folder.join(LOCK), false)? };
            if !super::change::is_pending(self)? {
                return Ok(lock);
            }
            drop(lock);
            self.lock_exclusive()?;
        }
    }

    /// The objects in a subfolder; names that are not UUIDs are ignored.
    pub(crate) fn ids(&self, directory: Directory) -> Result<Vec<Uuid>> {
        let folder = self.directory(directory);
        let cannot = |error| Error::io(format!("cannot read {}", folder.display()), error);
        let mut ids = Vec::new();
        for entry in fs::read_dir(&folder).map_err(cannot)? {
            let name = entry.map_err(cannot)?.file_name();
            ids.extend(name.to_str().and_then(id_of));
        }
        Ok(ids)
    }

    /// Moves an object to the trash, after which it does not exist. [`empty`](Self::empty) frees its space.
    pub(crate) fn discard(&self, _: &ExclusiveLock, directory: Directory, id: Uuid) -> Result<Uuid> {
        let trash = Uuid::new_v4();
        rename(&self.place(directory, id), &self.place(Directory::Trash, trash))?;
        sync_folder(&self.directory(directory))?;
        Ok(trash)
    }

    /// Moves a file into the trash, which makes it cease to exist. Returns its name there, for [`empty`](Self::empty).
    pub(crate) fn discard_file(&self, _: &ExclusiveLock, path: &Path) -> Result<Uuid> {
        let trash = Uuid::new_v4();
        rename(path, &self.place(Directory::Trash, trash))?;
        Ok(trash)
    }

    /// Removes this object from the trash. If that fails, the next opening retries it.
    pub(crate) fn empty(&self, id: Uuid) {
        let place = self.place(Directory::Trash, id);
        let is_file = fs::symlink_metadata(&place).is_ok_and(|found| !found.is_dir());
        match if is_file { fs::remove_file(&place) } else { fs::remove_dir_all(&place) } {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("cannot remove {}: {error}", place.display());
            }
            _ => {}
        }
    }

    /// Checks that the folder is a repository of a supported format, or initializes an empty folder.
    fn require_marker(&self) -> Result<()> {
        match Marker::read(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => return other.map(drop).map_err(|error| explain_damage(error, RESTORE_MARKER)),
        }
        let cannot = |error| failed(format!("cannot create repository {}", self.folder.display()), error);
        for entry in fs::read_dir(&self.folder).map_err(cannot)? {
            let name = entry.map_err(cannot)?.file_name();
            let ours =
                name == LOCK || name == Marker::FILE || Directory::ALL.iter().any(|directory| name == directory.name());
            if !ours {
                let what = format!("{} is not a repository and contains other files", self.folder.display());
                return Err(Error::new(ErrorKind::InvalidConfig, what).with_remedy("use an empty or a new folder"));
            }
        }
        make_folders(&self.folder).map_err(cannot)?;
        let _lock = FileLock::wait(&self.folder.join(LOCK), true)?;
        // Another process may have created it meanwhile.
        if self.folder.join(Marker::FILE).exists() {
            return Marker::read(&self.folder).map(drop).map_err(|error| explain_damage(error, RESTORE_MARKER));
        }
        let draft = self.directory(Directory::Staging);
        Marker { format: FORMAT }.write(&draft)?;
        move_into(&draft.join(Marker::FILE), &self.folder.join(Marker::FILE), &self.folder)
    }
}

/// The error of an operation on a repository's folder or an entry of it.
pub(super) fn failed(what: String, error: io::Error) -> Error {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => {
            "the repository was moved or removed: restore it, or mount the file system that it is on, and open it again"
        }
        io::ErrorKind::NotADirectory => "use the path of a folder",
        io::ErrorKind::PermissionDenied => "run as a user who may read and write the folder, or change its permissions",
        io::ErrorKind::ReadOnlyFilesystem => "mount the file system writable, or move the repository to one that is",
        _ => return Error::io(what, error),
    };
    Error::io(what, error).with_remedy(remedy)
}

/// Parses a UUID in its canonical form.
pub(super) fn id_of(name: &str) -> Option<Uuid> {
    Uuid::try_parse(name).ok().filter(|id| id.to_string() == name)
}

/// Turns a "not found" error into this value.
pub(crate) fn absent_is<T>(value: T) -> impl FnOnce(io::Error) -> io::Result<T> {
    |error| if error.kind() == io::ErrorKind::NotFound { Ok(value) } else { Err(error) }
}

fn make_folders(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    for directory in Directory::ALL {
        builder.create(folder.join(directory.name()))?;
    }
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(folder.join(LOCK)).map(drop)
}

/// Moves an object within the repository.
pub(super) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to)
        .map_err(|error| Error::io(format!("cannot move {} to {}", from.display(), to.display()), error))
}

/// Swaps two files or folders atomically, so that each name exists at any moment. Returns `false` if the file
/// system does not support that.
pub(super) fn swap(one: &Path, other: &Path) -> Result<bool> {
    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(Error::io(format!("cannot swap {} and {}", one.display(), other.display()), error.into())),
    }
}

/// Moves an object into `folder`, on stable storage. After a failure it is at its old place.
pub(super) fn move_into(from: &Path, to: &Path, folder: &Path) -> Result<()> {
    rename(from, to)?;
    sync_folder(folder).inspect_err(|_| {
        // A reported failure must leave the old state.
        if let Err(error) = fs::rename(to, from) {
            tracing::warn!("cannot move {} back to {}: {error}", to.display(), from.display());
        }
    })
}

/// Puts the entries of a folder on stable storage.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    let sync = || File::open(folder)?.sync_all();
    sync().map_err(|error| Error::io(format!("cannot write {}", folder.display()), error))
}

/// Deletes a file, if it is there.
pub(crate) fn delete(path: &Path) -> Result<()> {
    let deleted = fs::remove_file(path).or_else(absent_is(()));
    deleted.map_err(|error| Error::io(format!("cannot delete {}", path.display()), error))
}
