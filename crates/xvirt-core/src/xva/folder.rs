//! A folder whose new files appear together, when all are complete.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use uuid::Uuid;

use crate::repository::sync_folder;
use crate::sync::lock;
use crate::{Error, ErrorKind, Result};

/// New files for a folder. Until they are published, they are in a hidden folder inside it, which is removed on drop:
/// what bears a final name is complete, even after a power failure.
#[derive(Debug)]
pub(super) struct DraftFolder {
    folder: PathBuf,
    made_folder: bool,
    drafts: PathBuf,
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
        let drafts = folder.join(format!(".extract-{}", Uuid::new_v4()));
        let files = Self { folder: folder.to_owned(), made_folder, drafts, names: Mutex::default() };
        fs::create_dir(&files.drafts).map_err(cannot)?;
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
