//! The file systems of a `/boot`: ext2, ext3, ext4, XFS and FAT. They are read; the only write is that of new contents in
//! the place of a file's old ones.
//!
//! These readers are our own, because the input is hostile and boot speed matters. `ext4-view` allocates whatever
//! length a symbolic link's inode claims, rejects an ext3 journal that needs replay, and copies files in 4 KiB pieces;
//! `fatfs` never terminates on a looping directory. These readers locate a file once, and then read whole extents.

mod ext;
mod fat;
mod foreign;
mod run;
mod tree;
mod xfs;

use std::fmt;
use std::io;
use std::ops::Range;

use super::window::{Window, le16};

/// A size limit for directories that are listed, which a hostile disk may claim to be huge; no `/boot` has a larger one.
const MAX_DIRECTORY: u64 = 1 << 20;

/// A size limit for directories in which a name is looked up: the store of NixOS has millions of bytes of names.
const MAX_SEARCHED: u64 = 256 << 20;

/// The kind of object at a path.
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

/// A mounted file system. Paths use `/`, and start at its root with or without a leading `/`.
pub(super) trait FileSystem: fmt::Debug + Send + Sync {
    /// The UUID or serial number, in the format of `blkid` and GRUB.
    fn uuid(&self) -> &str;

    /// The label, empty if there is none.
    fn label(&self) -> &str;

    /// The name of GRUB's driver for it.
    fn grub_name(&self) -> &'static str;

    /// What the file system may have and is not read.
    fn limit(&self) -> Option<&'static str>;

    /// The path without links to the same file or directory.
    fn real_path(&self, path: &str) -> io::Result<String>;

    /// Replaces the contents of a file by others of the same length, in its place, as GRUB does: nothing else of the
    /// file system changes. Fails if the file has no such place, or the disk says otherwise than the file.
    fn rewrite(&self, path: &str, contents: &[u8]) -> io::Result<()>;

    /// The metadata of `path`. Symbolic links are followed, but only inside this file system.
    fn metadata(&self, path: &str) -> io::Result<Metadata>;

    /// The names in a directory, without `.` and `..`.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;

    /// Locates a range of a file. For a file of scattered minimum-size blocks, that takes memory of up to a twentieth
    /// of the range, so the caller must know the file's length and limit the range.
    fn open(&self, path: &str, range: Range<u64>) -> io::Result<Box<dyn OpenFile + '_>>;

    /// Reads from `offset` in a file into `buffer`.
    #[cfg(any(test, fuzzing))]
    fn read(&self, path: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.open(path, offset..offset.saturating_add(buffer.len() as u64))?.read(offset, buffer)
    }
}

/// A located range of a file.
pub(super) trait OpenFile: fmt::Debug {
    /// Reads from `offset` in the file into `buffer`; holes read as zeroes. The bytes must be in the range.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// The contents of a partition.
#[derive(Debug)]
pub(super) enum Contents<'d> {
    Files(Box<dyn FileSystem + 'd>),
    /// A known format that is not supported.
    Foreign(&'static str),
    /// A supported file system that cannot be read.
    Unreadable(io::Error),
    Nothing,
}

/// Detects the contents of a partition.
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

/// Whether a partition begins with the signature of a file system or container, supported or not.
pub(super) fn is_known(window: &Window<'_>) -> io::Result<bool> {
    if window.length() < 2048 {
        return Ok(false);
    }
    let start = window.read_vec(0, 2048)?;
    let is_ext = le16(&start, 1024 + 0x38) == 0xef53;
    let is_fat = le16(&start, 510) == 0xaa55 && (start[54..].starts_with(b"FAT") || start[82..].starts_with(b"FAT"));
    let is_supported = is_ext || is_fat || start.starts_with(b"XFSB");
    Ok(is_supported || foreign::container(window)?.is_some() || foreign::file_system(window)?.is_some())
}

/// An error for bytes that violate the format.
fn corrupt(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// An error for a path that does not exist.
fn not_found() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "no such file")
}

/// An error for an unsupported feature.
fn unsupported(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, what.into())
}

/// The text before the first zero byte.
fn until_nul(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests;
