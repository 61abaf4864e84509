//! I/O that bypasses the host's page cache (`O_DIRECT`).
//!
//! The kernel requires offset, length and memory of such requests to be aligned to the sectors of the underlying
//! device, which have 512 or 4096 bytes. Data in unaligned memory is copied here. Requests smaller than a device sector
//! go through the page cache: small requests of guests, whose unit is 512 bytes, and single entries of qcow2 tables.
//! The kernel keeps page cache and device consistent, except for a sector that is written both ways at the same time. A
//! direct request consists of whole sectors with only the guest's data, so this can only happen to a guest that has two
//! requests for the same bytes in flight.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::segments::{Segments, are_aligned};
use super::transfer;
use crate::named_file::reopen;
use crate::{Error, ErrorKind, Result};

/// The supported sector sizes in bytes.
const SECTORS: [u32; 2] = [512, 4096];
/// A page; no device requires a larger alignment of memory.
const PAGE: usize = 4096;
/// The most bytes copied at once.
const CHUNK: usize = 1 << 20;

/// A second descriptor of a file, with `O_DIRECT`.
#[derive(Debug)]
pub(super) struct DirectFile {
    file: File,
    /// The required alignment of offset, length and memory, in bytes.
    alignment: u32,
}

impl DirectFile {
    /// Opens `file`, which is at `path`, again with `O_DIRECT`.
    pub(super) fn open(file: &File, path: &Path) -> Result<Self> {
        let failed = |error| {
            Error::new(ErrorKind::HostUnsupported, format!("cannot use disk image {} directly", path.display()))
                .because(error)
                .with_remedy("turn direct off for this disk, or keep its image on a file system that supports O_DIRECT")
        };
        let writable = rustix::fs::fcntl_getfl(file).map_err(|error| failed(error.into()))?;
        let writable = writable.contains(rustix::fs::OFlags::RDWR);
        let flags = libc::O_CLOEXEC | libc::O_DIRECT;
        let opened = reopen(file, OpenOptions::new().read(true).write(writable).custom_flags(flags));
        let file = opened.map_err(failed)?;
        let mut tried = Ok(());
        for alignment in SECTORS {
            tried = try_reading(&file, alignment as usize);
            if tried.is_ok() {
                return Ok(Self { file, alignment });
            }
        }
        Err(tried.map_or_else(failed, |()| failed(io::ErrorKind::Unsupported.into())))
    }

    /// The required alignment of offset, length and memory, in bytes.
    pub(super) fn alignment(&self) -> u32 {
        self.alignment
    }

    /// Whether a transfer consists of whole sectors.
    pub(super) fn can(&self, offset: u64, length: u64) -> bool {
        (offset | length).is_multiple_of(self.alignment.into())
    }

    /// Whether the kernel can transfer these pieces without a copy.
    pub(super) fn takes(&self, pieces: &[libc::iovec], offset: u64) -> bool {
        offset.is_multiple_of(self.alignment.into()) && are_aligned(pieces, self.alignment as usize)
    }

    /// Reads whole sectors until `into` is full or the file ends; missing bytes remain in `into`.
    pub(super) fn read(&self, into: &mut Segments<'_>, mut offset: u64) -> io::Result<()> {
        if into.are_aligned(self.alignment as usize) {
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

    /// Writes all of `from`, in whole sectors.
    pub(super) fn write(&self, from: &mut Segments<'_>, mut offset: u64) -> io::Result<()> {
        if from.are_aligned(self.alignment as usize) {
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

/// Fails if this alignment is too small.
fn try_reading(file: &File, alignment: usize) -> io::Result<()> {
    let mut memory = Aligned::new(2 * alignment);
    let Some(sector) = memory.bytes().get_mut(alignment..) else { return Ok(()) };
    transfer::read(file, &mut Segments::of_bytes(sector), alignment as u64)
}

/// Page-aligned memory.
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
