//! Access to a disk or partition, with a small cache for the many small reads of metadata.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::budget::{Budget, Work};
use crate::disk::BlockBackend;
use crate::memory::GuestSlice;

/// The size and alignment of a cached chunk.
const CHUNK: u64 = 64 * 1024;

/// The number of cached chunks: enough for a directory, an inode table and a FAT.
const CHUNKS: usize = 16;

/// Reads go to the disk in whole sectors of this size.
const SECTOR: u64 = 512;

/// The cost of a read besides its bytes.
const PER_READ: u64 = 256;

/// State that all windows of a disk share.
#[derive(Debug)]
pub(super) struct Reads {
    pub(super) budget: Budget,
    /// Recently read chunks, for all partitions together, because there may be many and they may overlap.
    cache: Mutex<Vec<Chunk>>,
}

impl Reads {
    /// With the budget for reading configurations.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { budget: Budget::new(), cache: Mutex::default() })
    }

    /// Takes from the budget; also used for data kept in memory.
    pub(super) fn spend(&self, bytes: u64) -> io::Result<()> {
        self.budget.spend(Work::Bytes, bytes.saturating_add(PER_READ))
    }
}

/// A range of a disk; bytes outside of it cannot be accessed.
#[derive(Debug)]
pub(super) struct Window<'d> {
    disk: &'d dyn BlockBackend,
    start: u64,
    length: u64,
    reads: Arc<Reads>,
}

#[derive(Debug)]
struct Chunk {
    /// The position on the disk, a multiple of [`CHUNK`].
    position: u64,
    bytes: Vec<u8>,
}

impl<'d> Window<'d> {
    /// The whole disk, with a budget of its own.
    #[cfg(fuzzing)]
    pub(super) fn whole(disk: &'d dyn BlockBackend) -> Self {
        Self::new(disk, 0, disk.capacity(), Reads::new())
    }

    /// A range of the disk, clipped to the disk.
    pub(super) fn new(disk: &'d dyn BlockBackend, start: u64, length: u64, reads: Arc<Reads>) -> Self {
        let start = start.min(disk.capacity());
        let length = length.min(disk.capacity() - start);
        Self { disk, start, length, reads }
    }

    /// The length in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Charges the read budget for data kept in memory.
    pub(super) fn charge(&self, bytes: u64) -> io::Result<()> {
        self.reads.spend(bytes)
    }

    /// Charges the budget for other work than bytes.
    pub(super) fn spend(&self, work: Work, count: u64) -> io::Result<()> {
        self.reads.budget.spend(work, count)
    }

    /// Reads from `offset` into `buffer`. Whole sectors of a large read bypass the cache.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let wanted = buffer.len() as u64;
        if offset.checked_add(wanted).is_none_or(|end| end > self.length) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a read beyond the end of the partition"));
        }
        self.reads.spend(wanted)?;
        let position = self.start + offset;
        if wanted < CHUNK || !position.is_multiple_of(SECTOR) {
            return self.read_cached(position, buffer);
        }
        let body = wanted - wanted % SECTOR;
        let (body_bytes, tail) = buffer.split_at_mut(usize::try_from(body).unwrap_or(0));
        self.disk.read(&[GuestSlice::from(body_bytes)], position)?;
        self.read_cached(position + body, tail)
    }

    /// Reads `length` bytes at `offset` into a new buffer.
    pub(super) fn read_vec(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.read(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes to `offset`, which must be the start of a sector. The rest of the last sector keeps its contents.
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let length = (bytes.len() as u64).next_multiple_of(SECTOR);
        let position = self.start + offset;
        if !position.is_multiple_of(SECTOR) || offset.checked_add(length).is_none_or(|end| end > self.length) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a write beyond the partition or between sectors"));
        }
        let mut sectors = self.read_vec(offset, usize::try_from(length).unwrap_or(0))?;
        sectors.get_mut(..bytes.len()).unwrap_or_default().copy_from_slice(bytes);
        self.reads.cache.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.disk.write(&[GuestSlice::from(sectors.as_mut_slice())], position)
    }

    fn read_cached(&self, mut position: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        let mut cache = self.reads.cache.lock().unwrap_or_else(PoisonError::into_inner);
        while !buffer.is_empty() {
            let chunk = self.chunk(&mut cache, position - position % CHUNK)?;
            let from = usize::try_from(position % CHUNK).unwrap_or(usize::MAX);
            let source = chunk.bytes.get(from..).unwrap_or_default();
            let count = source.len().min(buffer.len());
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (filled, rest) = buffer.split_at_mut(count);
            filled.copy_from_slice(&source[..count]);
            buffer = rest;
            position += count as u64;
        }
        Ok(())
    }

    /// The chunk at `position`, which becomes the first in the cache.
    fn chunk<'c>(&self, cache: &'c mut Vec<Chunk>, position: u64) -> io::Result<&'c Chunk> {
        let found = match cache.iter().position(|chunk| chunk.position == position) {
            Some(found) => found,
            None => {
                let length = CHUNK.min(self.disk.capacity().saturating_sub(position));
                self.reads.spend(length)?;
                let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
                self.disk.read(&[GuestSlice::from(bytes.as_mut_slice())], position)?;
                cache.truncate(CHUNKS - 1);
                cache.push(Chunk { position, bytes });
                cache.len() - 1
            }
        };
        cache[..=found].rotate_right(1);
        Ok(&cache[0])
    }
}

/// A little-endian number at `offset`, or zero past the end of `bytes`.
pub(super) fn le16(bytes: &[u8], offset: usize) -> u16 {
    bytes.get(offset..).and_then(<[u8]>::first_chunk).map_or(0, |b| u16::from_le_bytes(*b))
}

/// A little-endian number at `offset`, or zero past the end of `bytes`.
pub(super) fn le32(bytes: &[u8], offset: usize) -> u32 {
    bytes.get(offset..).and_then(<[u8]>::first_chunk).map_or(0, |b| u32::from_le_bytes(*b))
}

/// A little-endian number at `offset`, or zero past the end of `bytes`.
pub(super) fn le64(bytes: &[u8], offset: usize) -> u64 {
    bytes.get(offset..).and_then(<[u8]>::first_chunk).map_or(0, |b| u64::from_le_bytes(*b))
}

/// A big-endian number at `offset`, or zero past the end of `bytes`.
pub(super) fn be16(bytes: &[u8], offset: usize) -> u16 {
    bytes.get(offset..).and_then(<[u8]>::first_chunk).map_or(0, |b| u16::from_be_bytes(*b))
}

/// A big-endian number at `offset`, or zero past the end of `bytes`.
pub(super) fn be32(bytes: &[u8], offset: usize) -> u32 {
    bytes.get(offset..).and_then(<[u8]>::first_chunk).map_or(0, |b| u32::from_be_bytes(*b))
}

/// A big-endian number at `offset`, or zero past the end of `bytes`.
pub(super) fn be64(bytes: &[u8], offset: usize) -> u64 {
    bytes.get(offset..).and_then(<[u8]>::first_chunk).map_or(0, |b| u64::from_be_bytes(*b))
}
