//! The repository of an import, which is only created if the import succeeds.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use xvirt_core::repository::Repository;

use crate::failure::Result;

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
        let is_new = made.is_some() || folder.read_dir().is_ok_and(|mut entries| entries.next().is_none());
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
