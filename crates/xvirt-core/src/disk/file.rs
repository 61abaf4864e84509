//! A locked image file and its input and output.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};

use uuid::Uuid;

use super::descriptor::ImageDescriptor;
use super::direct::DirectFile;
use super::holder;
use super::lock::{self, Hold};
use super::segments::Segments;
use super::transfer;
use crate::descriptor::Holders;
use crate::named_file::{NamedFile, reopen};
use crate::process::Process;
use crate::{Error, ErrorKind, Result};

/// The default sector size of a disk in bytes.
const SECTOR: u32 = 512;

/// File systems whose buffered writes can be asynchronous: XFS and btrfs, since Linux 6.0.
const WAITLESS: [i64; 2] = [0x5846_5342, 0x9123_683e];

/// Identifies a file regardless of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

/// An open image file or block device.
///
/// All methods may be called from several threads at once. They repeat interrupted calls, continue short ones, and keep
/// the error numbers of the operating system.
pub(super) struct ImageFile {
    process: Process,
    file: File,
    path: PathBuf,
    id: FileId,
    block_device: bool,
    /// The logical sector size of a block device in bytes; 1 for a file.
    sector: u64,
    /// The physical block size of a device in bytes; a sector for a file.
    block_size: u32,
    /// Whether its file system supports asynchronous buffered writes, which few do.
    waitless: bool,
    /// The error of the first failed `fdatasync`. The kernel reports lost pages only once and then treats them as
    /// clean, so a later success would mean nothing.
    lost: AtomicI32,
    /// The descriptor for direct I/O.
    direct: OnceLock<DirectFile>,
    /// The users of the open file description, if the program passed it.
    holders: Option<Arc<Holders>>,
    /// Whether it is locked.
    locked: AtomicBool,
}

impl ImageFile {
    /// Opens an existing file without locking it.
    pub(super) fn open(path: &Path, write: bool) -> Result<Self> {
        let what = || format!("cannot open disk image {}", path.display());
        let found = NamedFile::find(path).map_err(|error| explain_open(what(), error))?;
        if !found.is_file() && !found.is_block_device() {
            return Err(Error::new(ErrorKind::InvalidConfig, format!("{}: it is {}", what(), found.description()))
                .with_remedy("give the path of an image file or a block device"));
        }
        // Without O_NONBLOCK, opening a CD drive would close its tray.
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
        let file = found.open(OpenOptions::new().read(true).write(write).custom_flags(flags));
        let image = Self::adopt(file.map_err(|error| explain_open(what(), error))?, path)?;
        if image.block_device && write {
            image.refuse_read_only_device()?;
            image.claim_device()?;
        }
        Ok(image)
    }

    /// Takes an open file, without locking it.
    pub(super) fn of_descriptor(image: &ImageDescriptor, write: bool) -> Result<Self> {
        let mut file = Self::adopt(image.open(write)?, Path::new(&image.name()))?;
        if file.block_device && write {
            file.refuse_read_only_device()?;
        }
        file.holders = Some(image.descriptor().holders());
        Ok(file)
    }

    /// Creates a file; fails if it exists.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let what = format!("cannot create disk image {}", path.display());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_CLOEXEC)
            .open(path)
            .map_err(|error| explain_create(what, error))?;
        Self::adopt(file, path)
    }

    /// Creates a file of `length` bytes in `folder` that has no name and disappears when it is closed. It reads as
    /// zeroes, and takes no space until it is written.
    pub(super) fn unnamed(folder: &Path, length: u64) -> Result<Self> {
        let what = format!("cannot create a scratch file in {}", folder.display());
        let flags = libc::O_CLOEXEC | libc::O_TMPFILE;
        let opened = OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(flags).open(folder);
        let opened = match opened {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => unlinked(folder),
            opened => opened,
        };
        let file = opened.map_err(|error| explain_create(what.clone(), error))?;
        file.set_len(length).map_err(|error| {
            Error::io(what, error)
                .with_remedy(format!("choose a folder on a file system that supports files of {length} bytes"))
        })?;
        Self::adopt(file, folder)
    }

    fn adopt(file: File, path: &Path) -> Result<Self> {
        let failed = |error| Error::io(format!("cannot open disk image {}", path.display()), error);
        let metadata = file.metadata().map_err(failed)?;
        let kind = metadata.file_type();
        let (sector, block_size) = if kind.is_block_device() {
            // A kernel without these calls gets the defaults.
            let sector = rustix::fs::ioctl_blksszget(&file).unwrap_or(SECTOR);
            (sector.into(), rustix::fs::ioctl_blkpbszget(&file).unwrap_or(sector))
        } else {
            (1, SECTOR)
        };
        let waitless = rustix::fs::fstatfs(&file).is_ok_and(|system| WAITLESS.contains(&system.f_type));
        Ok(Self {
            process: Process::current(),
            file,
            path: path.to_owned(),
            id: FileId { device: metadata.dev(), inode: metadata.ino() },
            block_device: kind.is_block_device(),
            sector,
            block_size,
            waitless,
            lost: AtomicI32::new(0),
            direct: OnceLock::new(),
            holders: None,
            locked: AtomicBool::new(false),
        })
    }

    /// Fails if the block device is set to read-only: Linux opens it for writing all the same, and only its writes fail.
    fn refuse_read_only_device(&self) -> Result<()> {
        if !is_read_only_device(&self.file) {
            return Ok(());
        }
        let what = format!("cannot open block device {} for writing", self.path.display());
        Err(Error::io(what, io::Error::new(io::ErrorKind::PermissionDenied, "the host has set it to read-only"))
            .with_remedy("open it read-only, or make it writable with `blockdev --setrw`"))
    }

    /// Fails if the host itself uses the block device, such as a mounted one.
    fn claim_device(&self) -> Result<()> {
        let flags = libc::O_CLOEXEC | libc::O_EXCL | libc::O_NONBLOCK;
        match reopen(&self.file, OpenOptions::new().read(true).custom_flags(flags)) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                Err(Error::io(format!("block device {} is in use by the host", self.path.display()), error)
                    .with_remedy("unmount it, or choose another device"))
            }
            _ => Ok(()),
        }
    }

    /// Whether this is not the copy in a child of fork(2), which must leave the image alone.
    pub(super) fn is_ours(&self) -> bool {
        self.process.is_current()
    }

    /// Locks the file until this value is dropped.
    pub(super) fn lock(&self, hold: Hold) -> Result<()> {
        let path = self.path.display();
        let acquired = match &self.holders {
            Some(holders) => holders.acquire(hold, || lock::acquire(&self.file, hold)),
            None => lock::acquire(&self.file, hold),
        };
        match acquired {
            Ok(true) => {
                self.locked.store(true, Ordering::Relaxed);
                Ok(())
            }
            Ok(false) => {
                let holder = holder::find(self.id.device, self.id.inode);
                let holder = holder.map(|name| format!(" by {name}")).unwrap_or_default();
                let remedy = match hold {
                    Hold::Exclusive => {
                        "stop its user (a running VM, an import on demand, a snapshot view or an export), \
                         or create an overlay of it while it is not in use"
                    }
                    Hold::Read => "stop its writer (a running VM or an import on demand)",
                    Hold::Shared => "let every VM that uses it open it as shared",
                };
                Err(Error::new(ErrorKind::Busy, format!("disk image {path} is in use{holder}")).with_remedy(remedy))
            }
            Err(error) => Err(Error::new(ErrorKind::HostUnsupported, format!("cannot lock disk image {path}"))
                .because(error)
                .with_remedy("keep disk images on a file system that supports locks")),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn id(&self) -> FileId {
        self.id
    }

    pub(super) fn is_block_device(&self) -> bool {
        self.block_device
    }

    /// The alignment that the host requires to discard or zero ranges, in bytes.
    pub(super) fn sector(&self) -> u64 {
        self.sector
    }

    /// See [`BlockBackend::block_size`](super::BlockBackend::block_size).
    pub(super) fn block_size(&self) -> u32 {
        self.direct.get().map_or(self.block_size, |direct| direct.alignment().max(self.block_size))
    }

    pub(super) fn as_file(&self) -> &File {
        &self.file
    }

    /// The current size in bytes.
    pub(super) fn len(&self) -> io::Result<u64> {
        // Seeking also works for block devices, and nothing else uses the file position.
        (&self.file).seek(SeekFrom::End(0))
    }

    /// The bytes allocated on the host's disk; holes take none.
    pub(super) fn allocated(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.blocks() * 512)
    }

    /// The first range at or after `offset` that is not a hole, as far as the file system reports holes.
    pub(super) fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let end = self.len()?;
        if offset >= end {
            return Ok(None);
        }
        if self.block_device {
            return Ok(Some(offset..end));
        }
        let Some(start) = self.skip_hole(offset)? else { return Ok(None) };
        let end = rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Hole(start))?;
        Ok(Some(start..end))
    }

    /// The first offset at or after `offset` that is not in a hole. This is cheaper than the range, for which a file
    /// system may have to check every page.
    pub(super) fn skip_hole(&self, offset: u64) -> io::Result<Option<u64>> {
        if self.block_device {
            return Ok(Some(offset));
        }
        match rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Data(offset)) {
            Ok(start) => Ok(Some(start)),
            Err(rustix::io::Errno::NXIO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Advises the kernel to read a range ahead.
    #[cfg(feature = "qcow2")]
    pub(super) fn will_read(&self, offset: u64, length: u64) {
        let length = std::num::NonZero::new(length);
        // An error does not matter, because this is only advice.
        let _ = rustix::fs::fadvise(&self.file, offset, length, rustix::fs::Advice::WillNeed);
    }

    /// Enables direct I/O for aligned requests.
    pub(super) fn go_direct(&self) -> Result<()> {
        let direct = DirectFile::open(&self.file, &self.path)?;
        // Another thread may have set it already.
        let _ = self.direct.set(direct);
        Ok(())
    }

    /// Whether the kernel would refuse an asynchronous write (`EAGAIN`) and use a thread of its own for it.
    pub(super) fn writing_waits(&self) -> bool {
        !self.waitless && self.direct.get().is_none()
    }

    /// The descriptor with which the kernel can transfer `pieces` at `offset`; `None` if they must be copied.
    pub(super) fn descriptor(&self, pieces: &[libc::iovec], offset: u64) -> Option<RawFd> {
        match self.direct.get() {
            None => Some(self.file.as_raw_fd()),
            Some(direct) => direct.takes(pieces, offset).then(|| direct.as_raw_fd()),
        }
    }

    /// Reads until `into` is full or the file ends; missing bytes remain in `into`.
    pub(super) fn read(&self, into: &mut Segments<'_>, offset: u64) -> io::Result<()> {
        match self.direct.get().filter(|direct| direct.can(offset, into.len())) {
            Some(direct) => direct.read(into, offset),
            None => transfer::read(&self.file, into, offset),
        }
    }

    /// Writes everything.
    pub(super) fn write(&self, from: &mut Segments<'_>, offset: u64) -> io::Result<()> {
        match self.direct.get().filter(|direct| direct.can(offset, from.len())) {
            Some(direct) => direct.write(from, offset),
            None => transfer::write(&self.file, from, offset),
        }
    }

    /// Returns when everything written before is on stable storage.
    pub(super) fn sync(&self) -> io::Result<()> {
        match self.lost.load(Ordering::Acquire) {
            0 => self.file.sync_data().inspect_err(|error| {
                self.lost.store(error.raw_os_error().unwrap_or(libc::EIO), Ordering::Release);
            }),
            number => Err(io::Error::from_raw_os_error(number)),
        }
    }
}

impl Drop for ImageFile {
    fn drop(&mut self) {
        if !self.is_ours() || !self.locked.load(Ordering::Relaxed) {
            return;
        }
        match &self.holders {
            Some(holders) => holders.release(|| lock::release(&self.file)),
            None => lock::release(&self.file),
        }
    }
}

impl fmt::Debug for ImageFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ImageFile").field(&self.path).finish()
    }
}

/// Whether the host has set a block device to read-only (`BLKROGET` of linux/fs.h). A kernel without this call is taken
/// to say no.
fn is_read_only_device(device: &File) -> bool {
    const BLKROGET: rustix::ioctl::Opcode = rustix::ioctl::opcode::none(0x12, 94);
    // SAFETY: BLKROGET writes one `int` through the pointer.
    let question = unsafe { rustix::ioctl::Getter::<BLKROGET, libc::c_int>::new() };
    // SAFETY: the call is what its constant says, for any open file.
    unsafe { rustix::ioctl::ioctl(device, question) }.is_ok_and(|read_only| read_only != 0)
}

/// For file systems without `O_TMPFILE`, such as NFS: creates a file and removes its name at once.
fn unlinked(folder: &Path) -> io::Result<File> {
    let path = folder.join(format!(".xvirt-scratch-{}", Uuid::new_v4()));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600).custom_flags(libc::O_CLOEXEC);
    let file = options.open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// The error of an operation on an image file; `verb` names the operation.
pub(super) fn cannot(verb: &str, path: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot {verb} disk image {}", path.display()), error)
}

fn explain_open(what: String, error: io::Error) -> Error {
    let remedy = match error.raw_os_error() {
        Some(libc::ENOENT) => "check the path, or create the image first",
        Some(libc::EACCES | libc::EPERM) => "run as a user who may read and write the file, or change its permissions",
        Some(libc::EROFS) => "open it read-only, or move it to a file system that is mounted writable",
        _ => return Error::io(what, error),
    };
    Error::io(what, error).with_remedy(remedy)
}

fn explain_create(what: String, error: io::Error) -> Error {
    let remedy = match error.raw_os_error() {
        Some(libc::EEXIST) => "choose another name, or remove the old file first",
        Some(libc::ENOENT) => "create the directory first",
        Some(libc::EACCES | libc::EPERM) => "run as a user who may write to the directory",
        _ => return Error::io(what, error),
    };
    Error::io(what, error).with_remedy(remedy)
}
