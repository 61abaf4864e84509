//! The partitions of a disk with their file systems.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use super::budget::Budget;
use super::filesystem::{self, Contents, FileSystem, Kind, OpenFile};
use super::partition::{self, Partition, Scheme};
use super::window::{Reads, Window, le32};
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

/// A file with the contents that a boot loader writes into it.
pub(super) type Rewrite = (DiskPath, Arc<[u8]>);

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
    /// The number by which a disk with an MBR is known.
    mbr_signature: u32,
    /// The UUID of a disk with a GPT.
    gpt_uuid: Option<uuid::Uuid>,
    read_only: bool,
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
        // The partition table was read, so this can be read as well; a short disk has neither.
        let start = Window::new(disk, 0, disk.capacity(), Arc::clone(&reads)).read_vec(0, 1024).unwrap_or_default();
        let header = start.get(512..).filter(|header| header.starts_with(b"EFI PART"));
        let gpt_uuid = header.and_then(|header| uuid::Uuid::from_slice_le(header.get(56..72)?).ok());
        Ok(Self { volumes, reads, mbr_signature: le32(&start, 440), gpt_uuid, read_only: disk.read_only() })
    }

    /// Uses the given partitions.
    #[cfg(fuzzing)]
    pub(super) fn of(volumes: Vec<Volume<'d>>, reads: Arc<Reads>) -> Self {
        Self { volumes, reads, mbr_signature: 0, gpt_uuid: None, read_only: true }
    }

    /// The partitions with a readable file system, in order.
    pub(super) fn readable(&self) -> impl Iterator<Item = (u32, &dyn FileSystem)> {
        self.volumes.iter().filter_map(|volume| Some((volume.partition.number, volume.files()?)))
    }

    /// The file system of a partition.
    pub(super) fn files(&self, partition: u32) -> Option<&dyn FileSystem> {
        self.volumes.iter().find(|volume| volume.partition.number == partition)?.files()
    }

    /// All partitions.
    pub(super) fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.volumes.iter().map(|volume| &volume.partition)
    }

    /// The partition with this number.
    pub(super) fn partition(&self, number: u32) -> Option<&Partition> {
        self.partitions().find(|partition| partition.number == number)
    }

    /// The number by which a disk with an MBR is known.
    pub(super) fn mbr_signature(&self) -> u32 {
        self.mbr_signature
    }

    /// The UUID of a disk with a GPT.
    pub(super) fn gpt_uuid(&self) -> Option<uuid::Uuid> {
        self.gpt_uuid
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

    /// Whether there is a file or directory at a path.
    pub(super) fn exists(&self, at: &DiskPath) -> bool {
        self.files(at.partition).is_some_and(|files| files.metadata(&at.path).is_ok())
    }

    /// Leaves out paths that lead to the same file or directory as one before, through links.
    pub(super) fn without_links(&self, paths: Vec<DiskPath>) -> Vec<DiskPath> {
        let mut seen = Vec::new();
        let is_new = |at: &DiskPath| {
            let real = self.files(at.partition).and_then(|files| files.real_path(&at.path).ok());
            let real = (at.partition, real.unwrap_or_else(|| at.path.clone()));
            let is_new = !seen.contains(&real);
            seen.extend(is_new.then_some(real));
            is_new
        };
        paths.into_iter().filter(is_new).collect()
    }

    /// The names in a directory in the order of the file system; empty if the directory does not exist.
    pub(super) fn names(&self, at: &DiskPath) -> Vec<String> {
        self.files(at.partition).and_then(|files| files.list(&at.path).ok()).unwrap_or_default()
    }

    /// The names in a directory in alphabetical order; empty if the directory does not exist.
    pub(super) fn list(&self, at: &DiskPath) -> Vec<String> {
        let mut names = self.names(at);
        names.sort();
        names
    }

    /// A small file; `None` if it is unreadable or longer than `limit`.
    pub(super) fn bytes(&self, at: &DiskPath, limit: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read(at, limit, &mut bytes).ok()?;
        self.reads.spend(TEXT_COST * bytes.len() as u64).ok()?;
        Some(bytes)
    }

    /// A text file with invalid UTF-8 replaced; `None` if it is unreadable or longer than `limit`.
    pub(super) fn text(&self, at: &DiskPath, limit: u64) -> Option<String> {
        self.bytes(at, limit).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether the disk can be written.
    pub(super) fn is_writable(&self) -> bool {
        !self.read_only
    }

    /// Replaces the contents of a file by others of the same length, in its place.
    pub(super) fn rewrite(&self, at: &DiskPath, contents: &[u8]) -> io::Result<()> {
        self.mounted(at)?.rewrite(&at.path, contents)
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
        let number = at.partition;
        let error = |kind, what: String| Err(io::Error::new(kind, what));
        match self.volumes.iter().find(|volume| volume.partition.number == number).map(|volume| &volume.contents) {
            Some(Contents::Files(files)) => Ok(files.as_ref()),
            Some(Contents::Foreign(name)) => error(
                io::ErrorKind::Unsupported,
                format!("there is {name} on partition {number}, which is not supported"),
            ),
            Some(Contents::Unreadable(why)) => {
                error(why.kind(), format!("the file system on partition {number} is unreadable: {why}"))
            }
            Some(Contents::Nothing) => error(io::ErrorKind::NotFound, format!("partition {number} has no file system")),
            None => error(io::ErrorKind::NotFound, format!("the disk has no partition {number}")),
        }
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
                Contents::Files(files) => {
                    found.extend(
                        files.limit().map(|limit| format!("a file system on {place} with {limit}, which is not read")),
                    );
                }
                Contents::Nothing => {}
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
