//! Going past the host's page cache (`O_DIRECT`).
//!
//! The kernel wants offset, length and memory of such a request aligned to the device's block. Guests count in sectors,
//! so offset and length of their data always are; memory that is not is copied here. What is smaller than a sector, which
//! are single entries of a qcow2 image's tables, goes through the page cache: the kernel keeps both views of a file alike,
//! and such entries never share a page with data of the guest, which could be in flight at the same time.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::segments::{Segments, are_aligned};
use super::transfer;
use crate::named_file::reopen;
use crate::{Error, ErrorKind, Result};

/// What everything is aligned to, in bytes: a sector.
const ALIGNMENT: usize = 512;
/// A page, than which no device wants more of memory.
const PAGE: usize = 4096;
/// What is copied at once, in bytes.
const CHUNK: usize = 1 << 20;

/// A file that is also open past the page cache.
#[derive(Debug)]
pub(super) struct DirectFile {
    file: File,
}

impl DirectFile {
    /// Opens `file`, which is at `path`, once more.
    pub(super) fn open(file: &File, path: &Path) -> Result<Self> {
        let failed = |error| {
            Error::new(ErrorKind::HostUnsupported, format!("cannot use disk image {} directly", path.display()))
                .because(error)
                .remedy(
                    "turn direct off for this disk, or keep its image where O_DIRECT works for sectors of 512 bytes",
                )
        };
        let writable = rustix::fs::fcntl_getfl(file).map_err(|error| failed(error.into()))?;
        let writable = writable.contains(rustix::fs::OFlags::RDWR);
        let flags = libc::O_CLOEXEC | libc::O_DIRECT;
        let opened = reopen(file, OpenOptions::new().read(true).write(writable).custom_flags(flags));
        let direct = Self { file: opened.map_err(failed)? };
        direct.try_reading().map_err(failed)?;
        Ok(direct)
    }

    /// Fails if sectors are not enough of an alignment.
    fn try_reading(&self) -> io::Result<()> {
        let mut memory = Aligned::new(PAGE + ALIGNMENT);
        let Some(sector) = memory.bytes().get_mut(ALIGNMENT..2 * ALIGNMENT) else { return Ok(()) };
        transfer::read(&self.file, &mut Segments::of_bytes(sector), ALIGNMENT as u64)
    }

    /// Whether a transfer is of whole sectors.
    pub(super) fn can(offset: u64, length: u64) -> bool {
        (offset | length).is_multiple_of(ALIGNMENT as u64)
    }

    /// Whether the kernel can move these pieces as they are.
    pub(super) fn takes(&self, pieces: &[libc::iovec], offset: u64) -> bool {
        offset.is_multiple_of(ALIGNMENT as u64) && are_aligned(pieces, ALIGNMENT)
    }

    /// Reads whole sectors until `into` is full or the file ends; what is missing then is left in `into`.
    pub(super) fn read(&self, into: &mut Segments<'_>, mut offset: u64) -> io::Result<()> {
        if into.are_aligned(ALIGNMENT) {
            return transfer::read(&self.file, into, offset);
        }
        let mut memory = Aligned::new(CHUNK.min(into.len() as usize));
        while !into.is_empty() {
            let bytes = memory.bytes();
            let length = bytes.len().min(into.len() as usize);
            let bytes = bytes.get_mut(..length).unwrap_or_default();
            let mut chunk = Segments::of_bytes(bytes);
            transfer::read(&self.file, &mut chunk, offset)?;
            let count = length - chunk.len() as usize;
            into.fill(bytes.get(..count).unwrap_or_default());
            if count < length {
                break;
            }
            offset += count as u64;
        }
        Ok(())
    }

    /// Writes whole sectors, all of them.
    pub(super) fn write(&self, from: &mut Segments<'_>, mut offset: u64) -> io::Result<()> {
        if from.are_aligned(ALIGNMENT) {
            return transfer::write(&self.file, from, offset);
        }
        let mut memory = Aligned::new(CHUNK.min(from.len() as usize));
        while !from.is_empty() {
            let bytes = memory.bytes();
            let length = bytes.len().min(from.len() as usize);
            let bytes = bytes.get_mut(..length).unwrap_or_default();
            from.copy_to(bytes);
            transfer::write(&self.file, &mut Segments::of_bytes(bytes), offset)?;
            offset += length as u64;
        }
        Ok(())
    }
}

impl AsRawFd for DirectFile {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// Memory of ours that begins at a page.
struct Aligned {
    memory: Vec<u8>,
    length: usize,
}

impl Aligned {
    fn new(length: usize) -> Self {
        Self { memory: vec![0; length + PAGE], length }
    }

    fn bytes(&mut self) -> &mut [u8] {
        let start = self.memory.as_ptr().addr().next_multiple_of(PAGE) - self.memory.as_ptr().addr();
        self.memory.get_mut(start..start + self.length).unwrap_or_default()
    }
}
