//! The repository of an import, which is only created if the import succeeds, and those that must exist.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use xvirt_core::ErrorKind;
use xvirt_core::repository::Repository;

use crate::failure::{Failure, Result};

/// Opens a repository that must exist.
pub fn open_existing(folder: &Path) -> Result<Repository> {
    if !folder.is_dir() {
        return Err(Failure::new(folder.display(), "there is no such folder"));
    }
    // The library would make a repository of it.
    if is_empty(folder) {
        return Err(Failure::new(folder.display(), "there is no repository; the folder is empty"));
    }
    Repository::open(folder).map_err(|error| match error.kind() {
        ErrorKind::InvalidConfig => Failure::new(folder.display(), "is not a repository; import makes one"),
        _ => error.into(),
    })
}

fn is_empty(folder: &Path) -> bool {
    folder.read_dir().is_ok_and(|mut entries| entries.next().is_none())
}

/// A repository to import into. If it is new and still empty when this is dropped, it is removed.
#[derive(Debug)]
pub struct Store {
    repository: Repository,
    /// Whether there was no repository.
    is_new: bool,
    /// The folder, if it did not exist.
    made: Option<PathBuf>,
}

impl Store {
    /// Opens a repository, or creates it.
    pub fn open(folder: &Path) -> Result<Self> {
        let made = (!folder.exists()).then(|| folder.to_owned());
        let is_new = made.is_some() || is_empty(folder);
        Ok(Self { repository: Repository::open(folder)?, is_new, made })
    }
}

impl Deref for Store {
    type Target = Repository;

    fn deref(&self) -> &Repository {
        &self.repository
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The reported error matters more than an empty repository.
        if self.is_new && self.repository.clone().remove_if_empty().is_ok_and(|removed| removed) {
            let _ = self.made.as_ref().map(fs::remove_dir);
        }
    }
}
