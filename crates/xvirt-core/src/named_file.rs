//! Checks the type of a file before it is opened.
//!
//! Opening a file can have side effects: it unblocks the writer of a FIFO, closes the tray of a drive, or resets a
//! device. Paths come from users and from images, so each is checked first through an `O_PATH` descriptor, which has no
//! side effects. Then the same file is opened, even if the path leads elsewhere by then.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use crate::{Error, ErrorKind, Result};

/// A file system object that is not open yet.
#[derive(Debug)]
pub(crate) struct NamedFile {
    handle: OwnedFd,
    kind: FileType,
}

impl NamedFile {
    /// Finds the object at `path`.
    pub(crate) fn find(path: &Path) -> io::Result<Self> {
        Self::look(path, OFlags::empty())
    }

    /// Finds the object at `path`, without following a final symbolic link.
    pub(crate) fn find_without_following(path: &Path) -> io::Result<Self> {
        Self::look(path, OFlags::NOFOLLOW)
    }

    fn look(path: &Path, flags: OFlags) -> io::Result<Self> {
        let handle = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC | flags, Mode::empty())?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&handle)?.st_mode);
        Ok(Self { handle, kind })
    }

    /// Whether it is a regular file.
    pub(crate) fn is_file(&self) -> bool {
        self.kind.is_file()
    }

    /// Whether it is a block device.
    pub(crate) fn is_block_device(&self) -> bool {
        self.kind.is_block_device()
    }

    /// Its type, for messages.
    pub(crate) fn description(&self) -> &'static str {
        describe(self.kind)
    }

    /// Opens it.
    pub(crate) fn open(&self, options: &OpenOptions) -> io::Result<File> {
        reopen(&self.handle, options)
    }
}

/// The name of a file type for messages.
pub(crate) fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::Unknown => "of an unknown type",
    }
}

/// Opens the file of a descriptor again with other options.
pub(crate) fn reopen(file: &impl AsRawFd, options: &OpenOptions) -> io::Result<File> {
    options.open(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(io::ErrorKind::Unsupported, "/proc is not mounted"),
        _ => error,
    })
}

/// Opens a regular file for reading. `what` describes its contents in messages, such as "kernel".
///
/// # Errors
/// [`InvalidConfig`](ErrorKind::InvalidConfig) if it is not a regular file, such as a FIFO; or it cannot be opened.
pub(crate) fn open_file(path: &Path, what: &str) -> Result<File> {
    let failed = || format!("cannot read the {what} {}", path.display());
    let cannot = |error| Error::io(failed(), error).with_remedy("check the path and its permissions");
    let found = NamedFile::find(path).map_err(cannot)?;
    if !found.is_file() {
        return Err(Error::new(ErrorKind::InvalidConfig, format!("{}: it is {}", failed(), found.description()))
            .with_remedy("use the path of a regular file"));
    }
    found.open(OpenOptions::new().read(true).custom_flags(libc::O_CLOEXEC)).map_err(cannot)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;

    use super::*;

    #[test]
    fn what_was_looked_at_is_opened_whatever_has_its_name_by_then() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "first").unwrap();
        let found = NamedFile::find(&path).unwrap();
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let mut text = String::new();
        found.open(OpenOptions::new().read(true)).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "first");
    }

    #[test]
    fn a_link_is_followed_only_where_that_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "text").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(NamedFile::find(&link).unwrap().is_file());
        assert_eq!(NamedFile::find_without_following(&link).unwrap().description(), "a symbolic link");
        open_file(&link, "kernel").unwrap();
    }

    #[test]
    fn only_regular_files_are_opened_to_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
        for (path, kind) in
            [(fifo.as_path(), "a FIFO"), (folder.path(), "a directory"), ("/dev/null".as_ref(), "a character device")]
        {
            let error = open_file(path, "kernel").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            let text = format!("cannot read the kernel {}: it is {kind}", path.display());
            assert!(error.to_string().starts_with(&text), "{error}");
        }
        assert_eq!(open_file(&folder.path().join("nothing"), "kernel").unwrap_err().kind(), ErrorKind::NotFound);
    }
}
