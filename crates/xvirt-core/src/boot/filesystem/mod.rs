//! The file systems a `/boot` lies in, read-only: ext2, ext3, ext4, XFS and FAT.
//!
//! The readers are ours because the disk's bytes are hostile and boot speed counts. `ext4-view` allocates what a
//! symbolic link's inode claims as its length, refuses an ext3 journal that needs replay, and copies a file 4 KiB at a
//! time; `fatfs` follows a looped directory for ever. These find out where a file lies once, and then read whole extents.

mod ext;
mod fat;
mod foreign;
mod run;
mod tree;
mod xfs;

use std::fmt;
use std::io;
use std::ops::Range;

use super::window::Window;

/// A larger directory than any `/boot`, though not than any a hostile disk may claim.
const MAX_DIRECTORY: u64 = 1 << 20;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
}

/// A file's kind and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) kind: Kind,
    pub(super) length: u64,
}

/// A mounted file system. Paths are separated by `/` and start at its root, with or without a leading `/`.
pub(super) trait FileSystem: fmt::Debug + Send + Sync {
    /// The UUID or serial number, as `blkid` and GRUB print it.
    fn uuid(&self) -> &str;

    /// The label, empty if there is none.
    fn label(&self) -> &str;

    /// What `path` leads to; symbolic links are followed, inside this file system only.
    fn metadata(&self, path: &str) -> io::Result<Metadata>;

    /// The names in a directory, without `.` and `..`.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;

    /// Finds out where a range of a file lies. That takes up to a twentieth of the range in memory, for a file that is
    /// scattered over the smallest blocks: the caller has to know how long the file is, and that so much may be read.
    fn open(&self, path: &str, range: Range<u64>) -> io::Result<Box<dyn OpenFile + '_>>;

    /// Fills `buffer` from `offset` in a file on.
    #[cfg(any(test, fuzzing))]
    fn read(&self, path: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.open(path, offset..offset.saturating_add(buffer.len() as u64))?.read(offset, buffer)
    }
}

/// A range of a file, of which it is known where it lies.
pub(super) trait OpenFile: fmt::Debug {
    /// Fills `buffer` from `offset` in the file on; what the file has no blocks for is zeroes. It has to be in the range.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// What a partition turned out to hold.
#[derive(Debug)]
pub(super) enum Contents<'d> {
    Files(Box<dyn FileSystem + 'd>),
    /// Something that is known but cannot be read here.
    Foreign(&'static str),
    /// A file system that ought to be readable and is not.
    Unreadable(io::Error),
    Nothing,
}

/// Finds out what a partition holds.
pub(super) fn open(window: Window<'_>) -> Contents<'_> {
    try_open(window).unwrap_or_else(Contents::Unreadable)
}

fn try_open(window: Window<'_>) -> io::Result<Contents<'_>> {
    if let Some(name) = foreign::container(&window)? {
        return Ok(Contents::Foreign(name));
    }
    let window = match ext::Ext::open(window)? {
        Ok(ext) => return Ok(Contents::Files(Box::new(ext))),
        Err(window) => window,
    };
    let window = match xfs::Xfs::open(window)? {
        Ok(xfs) => return Ok(Contents::Files(Box::new(xfs))),
        Err(window) => window,
    };
    let window = match fat::Fat::open(window)? {
        Ok(fat) => return Ok(Contents::Files(Box::new(fat))),
        Err(window) => window,
    };
    Ok(foreign::file_system(&window)?.map_or(Contents::Nothing, Contents::Foreign))
}

/// An error for bytes that are not what the format demands.
fn corrupt(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// An error for a path that leads nowhere.
fn not_found() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "there is no such file")
}

/// An error for a feature that is not read here.
fn unsupported(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, what.into())
}

/// Text that ends before its first zero byte.
fn until_nul(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests;
