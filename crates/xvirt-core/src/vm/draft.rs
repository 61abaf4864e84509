//! Files that appear under their name only when they are complete.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, RenameFlags, linkat, renameat_with};
use uuid::Uuid;

use crate::disk::sync_folder;
use crate::{Error, ErrorKind, Result};

/// A file that is being written. Unless it is published it disappears, also when this process is killed.
#[derive(Debug)]
pub(super) struct FileDraft {
    /// The final name.
    path: PathBuf,
    file: File,
    /// The temporary name, on file systems without unnamed files, such as NFS. There, a process that is killed leaves it.
    temporary: Option<PathBuf>,
}

impl FileDraft {
    /// Creates a file that only its owner can read and write, to become `path`.
    ///
    /// # Errors
    /// `AlreadyExists` if there is something at `path`, or the folder cannot be written.
    pub(super) fn create(path: &Path) -> Result<Self> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(exists(path));
        }
        match options().custom_flags(libc::O_TMPFILE).open(folder_of(path)) {
            Ok(file) if name_of(&file).exists() => {
                return Ok(Self { path: path.to_owned(), file, temporary: None });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(cannot("create", path, error)),
            // The file system has no unnamed files, or there is no /proc, without which they cannot be named.
            _ => {}
        }
        Self::create_named(path)
    }

    /// Creates a file with a temporary name that no other file has, not even one that a killed process left: process
    /// IDs are used again.
    fn create_named(path: &Path) -> Result<Self> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.draft", Uuid::new_v4()));
        let temporary = path.with_file_name(name);
        let file = options().create_new(true).open(&temporary).map_err(|e| cannot("create", &temporary, e))?;
        Ok(Self { path: path.to_owned(), file, temporary: Some(temporary) })
    }

    /// Another descriptor of the file.
    pub(super) fn file(&self) -> Result<File> {
        self.file.try_clone().map_err(|e| cannot("duplicate the descriptor of", &self.path, e))
    }

    /// Gives the file its final name, on stable storage. Its contents must be there already.
    ///
    /// # Errors
    /// `AlreadyExists` if there is something of that name by now, or the folder cannot be written.
    pub(super) fn publish(mut self) -> Result<()> {
        let named = match &self.temporary {
            None => linkat(CWD, name_of(&self.file), CWD, &self.path, AtFlags::SYMLINK_FOLLOW),
            Some(temporary) => renameat_with(CWD, temporary, CWD, &self.path, RenameFlags::NOREPLACE),
        };
        match named {
            Ok(()) => self.temporary = None,
            Err(rustix::io::Errno::EXIST) => return Err(exists(&self.path)),
            Err(errno) => return Err(cannot("name", &self.path, errno.into())),
        }
        sync_folder(&self.path).map_err(|error| {
            // A caller that gets an error must not find the file. If that fails too, nothing more can be done.
            let _ = fs::remove_file(&self.path);
            cannot("create", &self.path, error)
        })
    }
}

impl Drop for FileDraft {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // There is nobody to report a failure to.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Removes a file, on stable storage.
pub(super) fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).and_then(|()| sync_folder(path)).map_err(|error| cannot("remove", path, error))
}

/// How a file that only its owner can read and write is opened.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// A name of an open file that has none, for linkat(2).
fn name_of(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn exists(path: &Path) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("{} exists already", path.display()))
        .with_remedy("give the saved state a new name, or remove what is there")
}

fn cannot(verb: &str, path: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot {verb} {}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_when_it_is_published_and_not_before() {
        for create in [FileDraft::create, FileDraft::create_named] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            drop(create(&path).unwrap());
            assert_eq!(names(folder.path()), [""; 0]);
            let draft = create(&path).unwrap();
            draft.file().unwrap().write_all_at(b"contents", 0).unwrap();
            assert!(!path.exists());
            draft.publish().unwrap();
            assert_eq!(
                (names(folder.path()), fs::read(&path).unwrap()),
                (vec!["file".to_owned()], b"contents".to_vec())
            );
            remove(&path).unwrap();
            assert!(!path.exists());
        }
    }

    #[test]
    fn what_a_killed_process_left_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let left = FileDraft::create_named(&path).unwrap();
        FileDraft::create_named(&path).unwrap().publish().unwrap();
        assert!(path.exists() && left.temporary.as_ref().unwrap().exists());
    }

    #[test]
    fn a_file_that_has_come_meanwhile_is_not_replaced() {
        for create in [FileDraft::create, FileDraft::create_named] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            let draft = create(&path).unwrap();
            fs::write(&path, "other").unwrap();
            assert_eq!(draft.publish().unwrap_err().kind(), ErrorKind::AlreadyExists);
            assert_eq!((names(folder.path()), fs::read(&path).unwrap()), (vec!["file".to_owned()], b"other".to_vec()));
            assert_eq!(FileDraft::create(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        }
    }
}
