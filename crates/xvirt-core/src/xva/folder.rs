//! A folder whose new files appear together, when all are complete.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use uuid::Uuid;

use crate::repository::sync_folder;
use crate::sync::lock;
use crate::{Error, ErrorKind, Result};

/// The start of the names of hidden folders; a UUID follows.
const PREFIX: &str = ".extract-";

/// New files for a folder. Until they are published, they are in a hidden folder inside it, which is removed on drop:
/// what bears a final name is complete, even after a power failure.
///
/// A process that is killed leaves its hidden folder. So each is locked, and those that nobody has locked are removed
/// when something else is extracted into the same folder.
#[derive(Debug)]
pub(super) struct DraftFolder {
    folder: PathBuf,
    made_folder: bool,
    drafts: PathBuf,
    /// The lock on the hidden folder.
    _alive: File,
    names: Mutex<Vec<String>>,
}

impl DraftFolder {
    /// Prepares new files for `folder`, which is created if it does not exist.
    pub(super) fn create(folder: &Path) -> Result<Self> {
        let cannot = |error| Error::io(format!("cannot create folder {}", folder.display()), error);
        let made_folder = !folder.exists();
        if made_folder {
            fs::create_dir(folder).map_err(cannot)?;
        }
        remove_abandoned(folder);
        let made = make_drafts(folder).map_err(cannot);
        let (drafts, alive) = made.inspect_err(|_| {
            // The reported error matters more than an empty folder.
            let _ = made_folder.then(|| fs::remove_dir(folder));
        })?;
        let files = Self { folder: folder.to_owned(), made_folder, drafts, _alive: alive, names: Mutex::default() };
        files.require_free("ova.xml")?;
        Ok(files)
    }

    /// The final path of a file.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The path of a new file until it is published.
    pub(super) fn draft(&self, name: &str) -> Result<PathBuf> {
        self.require_free(name)?;
        lock(&self.names).push(name.to_owned());
        Ok(self.drafts.join(name))
    }

    /// Creates a new file.
    pub(super) fn create_file(&self, name: &str) -> Result<File> {
        let path = self.draft(name)?;
        File::create_new(&path).map_err(|error| Error::io(format!("cannot create {}", path.display()), error))
    }

    /// Gives all files their final names, on stable storage.
    pub(super) fn publish(mut self) -> Result<()> {
        let names = std::mem::take(self.names.get_mut().unwrap_or_else(PoisonError::into_inner));
        let mut published = Vec::new();
        let done = names.iter().try_for_each(|name| {
            self.publish_one(name)?;
            published.push(self.path(name));
            Ok(())
        });
        match done.and_then(|()| sync_folder(&self.folder)) {
            Ok(()) => self.made_folder = false,
            Err(error) => {
                // The reported error matters more than leftover files.
                for path in published {
                    let _ = fs::remove_file(path);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn publish_one(&self, name: &str) -> Result<()> {
        let (draft, path) = (self.drafts.join(name), self.path(name));
        let cannot = |error| Error::io(format!("cannot create {}", path.display()), error);
        File::open(&draft).and_then(|file| file.sync_all()).map_err(cannot)?;
        match renameat_with(CWD, &draft, CWD, &path, RenameFlags::NOREPLACE) {
            // Some network file systems cannot do both at once.
            Err(rustix::io::Errno::INVAL) => {
                self.require_free(name)?;
                fs::rename(&draft, &path).map_err(cannot)
            }
            Err(rustix::io::Errno::EXIST) => Err(exists(&path)),
            renamed => renamed.map_err(|errno| cannot(errno.into())),
        }
    }

    fn require_free(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        if path.symlink_metadata().is_ok() { Err(exists(&path)) } else { Ok(()) }
    }
}

/// Makes a hidden folder, and locks it.
fn make_drafts(folder: &Path) -> io::Result<(PathBuf, File)> {
    loop {
        let drafts = folder.join(format!("{PREFIX}{}", Uuid::new_v4()));
        fs::create_dir(&drafts)?;
        let alive = match File::open(&drafts) {
            // Another process may take it for abandoned before it is locked.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        match alive.try_lock() {
            Err(TryLockError::WouldBlock) => {}
            Ok(()) if alive.metadata()?.nlink() == 0 => {}
            // On a file system without locks, nobody removes it either.
            Ok(()) | Err(TryLockError::Error(_)) => return Ok((drafts, alive)),
        }
    }
}

/// Removes hidden folders of dead processes. What cannot be removed only takes space.
fn remove_abandoned(folder: &Path) {
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let is_ours = id.is_some_and(|id| Uuid::try_parse(id).is_ok());
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let Ok(drafts) = File::open(entry.path()) else { continue };
        if drafts.try_lock().is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn exists(path: &Path) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("{} already exists", path.display()))
        .with_remedy("remove it, or choose another folder")
}

impl Drop for DraftFolder {
    fn drop(&mut self) {
        // The reported error matters more than leftover files.
        let _ = fs::remove_dir_all(&self.drafts);
        if self.made_folder {
            let _ = fs::remove_dir(&self.folder);
        }
    }
}
