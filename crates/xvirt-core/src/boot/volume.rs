//! The partitions of a disk with their file systems.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use super::budget::Budget;
use super::filesystem::{self, Contents, FileSystem, Kind, OpenFile};
use super::partition::{self, Partition, Scheme};
use super::window::{Reads, Window};
use crate::disk::BlockBackend;
use crate::error::{Error, ErrorKind, Result};

/// The cost of a byte of text, charged to the disk's read budget: menus are built from text, and the text of all disks
/// must not exceed 32 MiB.
const TEXT_COST: u64 = 64;

/// A file on a partition of the disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct DiskPath {
    /// Linux's partition number, from 1; 0 for an unpartitioned disk.
    pub partition: u32,
    /// The path from the root of the partition's file system.
    pub path: String,
}

impl DiskPath {
    pub(super) fn new(partition: u32, path: impl Into<String>) -> Self {
        Self { partition, path: path.into() }
    }
}

impl fmt::Display for DiskPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partition {
            0 => f.write_str(&self.path),
            number => write!(f, "{} on partition {number}", self.path),
        }
    }
}

/// A partition and its contents.
#[derive(Debug)]
pub(super) struct Volume<'d> {
    pub(super) partition: Partition,
    pub(super) contents: Contents<'d>,
}

impl Volume<'_> {
    /// The file system, if it is supported and readable.
    pub(super) fn files(&self) -> Option<&dyn FileSystem> {
        match &self.contents {
            Contents::Files(files) => Some(files.as_ref()),
            _ => None,
        }
    }
}

/// All partitions of a disk.
#[derive(Debug)]
pub(super) struct Volumes<'d> {
    volumes: Vec<Volume<'d>>,
    reads: Arc<Reads>,
}

/// Checks a length against a limit; the error has the kind `FileTooLarge`.
pub(super) fn within(length: u64, limit: u64) -> io::Result<usize> {
    if length > limit {
        let what = format!("it has {length} bytes, more than the limit of {limit}");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

impl<'d> Volumes<'d> {
    /// Reads the partition table and opens every partition.
    pub(super) fn open(disk: &'d dyn BlockBackend) -> Result<Self> {
        let reads = Reads::new();
        let open = |partition: Partition| {
            let window = Window::new(disk, partition.start, partition.length, Arc::clone(&reads));
            Volume { contents: filesystem::open(window), partition }
        };
        let partitions = partition::read(disk, &reads);
        reads.budget.check()?;
        let volumes = partitions?.into_iter().map(open).collect();
        reads.budget.check()?;
        Ok(Self { volumes, reads })
    }

    /// Uses the given partitions.
    #[cfg(fuzzing)]
    pub(super) fn of(volumes: Vec<Volume<'d>>, reads: Arc<Reads>) -> Self {
        Self { volumes, reads }
    }

    /// The partitions with a readable file system, in order.
    pub(super) fn readable(&self) -> impl Iterator<Item = (u32, &dyn FileSystem)> {
        self.volumes.iter().filter_map(|volume| Some((volume.partition.number, volume.files()?)))
    }

    /// The file system of a partition.
    pub(super) fn files(&self, partition: u32) -> Option<&dyn FileSystem> {
        self.volumes.iter().find(|volume| volume.partition.number == partition)?.files()
    }

    /// The kind of partition table of the disk.
    pub(super) fn scheme(&self) -> Scheme {
        self.volumes.first().map_or(Scheme::Whole, |volume| volume.partition.scheme)
    }

    /// The length of the file at a path; `None` if there is none.
    pub(super) fn file_length(&self, at: &DiskPath) -> Option<u64> {
        let metadata = self.files(at.partition)?.metadata(&at.path).ok()?;
        (metadata.kind == Kind::File).then_some(metadata.length)
    }

    /// The names in a directory in alphabetical order; empty if the directory does not exist.
    pub(super) fn list(&self, at: &DiskPath) -> Vec<String> {
        let mut names = self.files(at.partition).and_then(|files| files.list(&at.path).ok()).unwrap_or_default();
        names.sort();
        names
    }

    /// A text file with invalid UTF-8 replaced; `None` if it is unreadable or longer than `limit`.
    pub(super) fn text(&self, at: &DiskPath, limit: u64) -> Option<String> {
        let mut bytes = Vec::new();
        self.read(at, limit, &mut bytes).ok()?;
        self.reads.spend(TEXT_COST * bytes.len() as u64).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The work done and left for this disk's menu.
    pub(super) fn budget(&self) -> &Budget {
        &self.reads.budget
    }

    /// The length of a file, or an error.
    pub(super) fn length(&self, at: &DiskPath) -> io::Result<u64> {
        let metadata = self.mounted(at)?.metadata(&at.path)?;
        match metadata.kind {
            Kind::File => Ok(metadata.length),
            Kind::Directory => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// Opens a range of a file. The caller must have limited the length.
    pub(super) fn open_file(&self, at: &DiskPath, range: Range<u64>) -> io::Result<Box<dyn OpenFile + '_>> {
        self.mounted(at)?.open(&at.path, range)
    }

    /// Appends a file to `out`; the error for one longer than `limit` has the kind `FileTooLarge`.
    pub(super) fn read(&self, at: &DiskPath, limit: u64, out: &mut Vec<u8>) -> io::Result<()> {
        self.read_range(at, 0..self.length(at)?, limit, out)
    }

    /// Appends a range of a file to `out`.
    pub(super) fn read_range(&self, at: &DiskPath, range: Range<u64>, limit: u64, out: &mut Vec<u8>) -> io::Result<()> {
        let length = within(range.end.saturating_sub(range.start), limit)?;
        out.try_reserve_exact(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let start = out.len();
        out.resize(start + length, 0);
        self.open_file(at, range.clone())?.read(range.start, out.get_mut(start..).unwrap_or_default())
    }

    fn mounted(&self, at: &DiskPath) -> io::Result<&dyn FileSystem> {
        self.files(at.partition).ok_or_else(|| {
            let what = format!("partition {} has no readable file system", at.partition);
            io::Error::new(io::ErrorKind::NotFound, what)
        })
    }

    /// The error for a disk without anything to boot; it names what was found.
    pub(super) fn nothing_to_boot(&self) -> Error {
        let explicit = "give the kernel explicitly with Boot::kernel";
        let mut found = Vec::new();
        for Volume { partition, contents } in &self.volumes {
            let place = match partition.number {
                0 => "the whole disk".to_owned(),
                number => format!("partition {number}"),
            };
            match contents {
                Contents::Foreign(name) => found.push(format!("{name} on {place}")),
                Contents::Unreadable(why) => found.push(format!("an unreadable file system on {place} ({why})")),
                Contents::Files(_) | Contents::Nothing => {}
            }
        }
        let readable = self.readable().next().is_some();
        if !found.is_empty() {
            let what = match readable {
                true => "no boot configuration and no kernel was found in the readable file systems",
                false => "no readable file system was found",
            };
            return Error::new(ErrorKind::NotBootable, format!("{what}; there is {}", found.join(", ")))
                .with_remedy(format!("{explicit}, or use a separate ext4 /boot"));
        }
        if readable {
            return Error::new(
                ErrorKind::NotBootable,
                "no boot configuration (GRUB, systemd-boot, extlinux) and no kernel in /boot was found on the disk",
            )
            .with_remedy(format!("install a boot loader configuration in the guest, or {explicit}"));
        }
        let what = match self.scheme() {
            Scheme::Whole => "the disk has neither a partition table nor a readable file system",
            Scheme::Mbr | Scheme::Gpt => "no partition of the disk has a file system",
        };
        Error::new(ErrorKind::NotBootable, what)
            .with_remedy(format!("install an operating system on it, or {explicit}"))
    }
}
