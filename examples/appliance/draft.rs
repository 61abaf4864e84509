//! A file that gets its name when it is complete.
//!
//! A run that is killed cannot remove its draft. So each run locks its own, and removes those in the same folder that
//! nobody has locked: their runs are dead.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, PersistError};

const PREFIX: &str = ".appliance-";
const SUFFIX: &str = ".draft";

/// A new file under a temporary name. Only its owner may read it. It is removed on drop.
#[derive(Debug)]
pub struct Draft(NamedTempFile);

impl Draft {
    /// Creates a draft in a folder, and removes those of dead runs.
    pub fn create(folder: &Path) -> io::Result<Self> {
        remove_abandoned(folder);
        loop {
            let file = tempfile::Builder::new().prefix(PREFIX).suffix(SUFFIX).tempfile_in(folder)?;
            match file.as_file().try_lock() {
                // Another run may have taken it for abandoned before it was locked.
                Err(TryLockError::WouldBlock) => {}
                Ok(()) if file.as_file().metadata()?.nlink() == 0 => {}
                // A file system without locks is one on which nobody removes drafts.
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(Self(file)),
            }
        }
    }

    pub fn file(&self) -> &File {
        self.0.as_file()
    }

    /// Gives it its name; an existing file is only replaced if `replace`.
    pub fn rename(self, path: &Path, replace: bool) -> io::Result<()> {
        let renamed = if replace { self.0.persist(path) } else { self.0.persist_noclobber(path) };
        renamed.map(drop).map_err(|PersistError { error, .. }| error)
    }
}

/// Removes the drafts that nobody has locked. What cannot be removed is only in the way of free space.
fn remove_abandoned(folder: &Path) {
    for path in drafts(folder) {
        // Exclusive locks on NFS need a file that is open for writing.
        let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else { continue };
        if file.try_lock().is_ok() {
            let _ = std::fs::remove_file(&path);
        }
    }
}

fn drafts(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    let is_draft = |entry: &std::fs::DirEntry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with(PREFIX) && name.ends_with(SUFFIX) && entry.file_type().is_ok_and(|kind| kind.is_file())
    };
    entries.filter(is_draft).map(|entry| entry.path()).collect()
}
