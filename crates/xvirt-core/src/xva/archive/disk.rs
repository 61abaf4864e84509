//! A disk inside an archive.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use vm_memory::VolatileSlice;

use super::chunks::{self, Chunk, Place};
use super::{Source, chunks::cannot_read};
use crate::disk::BlockBackend;
use crate::sync::lock;
use crate::xva::chunk::{Name, Sum, name};
use crate::xva::codec::Stream;
use crate::xva::error::corrupt;
use crate::xva::tar::{BLOCK, Walk};
use crate::xva::write::MEMBER;
use crate::{ErrorKind, Result};

/// How many chunks are kept in memory: who reads a disk in small pieces needs each several times.
const KEPT: usize = 4;

/// A disk of an archive, read-only.
#[derive(Debug)]
pub(super) struct ArchiveDisk {
    source: Arc<Source>,
    id: String,
    size: u64,
    chunks: Vec<Chunk>,
    /// The chunks that were read last, the latest first, by their place among all.
    kept: Mutex<VecDeque<(usize, Bytes)>>,
}

impl ArchiveDisk {
    pub(super) fn new(source: Arc<Source>, id: String, size: u64, chunks: Vec<Chunk>) -> Self {
        Self { source, id, size, chunks, kept: Mutex::default() }
    }

    /// The first chunk that ends after an offset.
    fn first_after(&self, offset: u64) -> usize {
        self.chunks.partition_point(|chunk| chunk.offset + chunk.length <= offset)
    }

    /// The contents of a chunk, checked.
    fn contents(&self, index: usize, chunk: &Chunk) -> Result<Bytes> {
        if let Some((_, contents)) = lock(&self.kept).iter().find(|(kept, _)| *kept == index) {
            return Ok(contents.clone());
        }
        let contents = self.read_chunk(chunk)?;
        let mut kept = lock(&self.kept);
        kept.push_front((index, contents.clone()));
        kept.truncate(KEPT);
        Ok(contents)
    }

    fn read_chunk(&self, chunk: &Chunk) -> Result<Bytes> {
        let member = name(&self.id, chunk.number);
        let bytes = match chunk.place {
            Place::Frame(frame) => chunks::decompress(&self.source, &frame, MEMBER)?,
            Place::Plain(at) => self.read_plain(at, chunk)?,
        };
        let mut pieces = Some(Bytes::from(bytes));
        let mut walk = Walk::new(Stream::new(move || Ok(pieces.take())));
        let entry = walk.next()?.filter(|entry| entry.name == member && entry.size >= chunk.length);
        let entry = entry.ok_or_else(|| corrupt(&member, "it is not where the index says"))?;
        let contents = walk.take(entry.size)?.concat();
        let next = walk.next()?;
        let kind = match next.as_ref().map(|next| Name::parse(&next.name)) {
            Some(Name::Checksum { chunk, kind }) if chunk == member => kind,
            _ => return Err(corrupt(&member, "its checksum is missing")),
        };
        let mut sum = Sum::new(kind);
        sum.update(&contents);
        let (found, claimed) = (sum.finish(), walk.take_all(BLOCK as u64)?);
        if !claimed.trim_ascii().eq_ignore_ascii_case(found.as_bytes()) {
            let claimed = String::from_utf8_lossy(&claimed).into_owned();
            return Err(corrupt(&member, format!("its {kind} checksum is {found}, not '{claimed}'")));
        }
        Ok(Bytes::from(contents).slice(..chunk.length as usize))
    }

    /// The member of a chunk in an archive without compression, and that of its checksum.
    fn read_plain(&self, at: u64, chunk: &Chunk) -> Result<Vec<u8>> {
        let end = self.source.file.metadata().map_err(|error| cannot_read(&self.source, error))?.len();
        // Long names take two more blocks before each of the two members.
        let most = chunk.length.next_multiple_of(BLOCK as u64) + 16 * BLOCK as u64;
        let mut bytes = vec![0; most.min(end.saturating_sub(at)) as usize];
        self.source.file.read_exact_at(&mut bytes, at).map_err(|error| cannot_read(&self.source, error))?;
        Ok(bytes)
    }
}

impl BlockBackend for ArchiveDisk {
    fn capacity(&self) -> u64 {
        self.size.next_multiple_of(512).max(512)
    }

    fn read_only(&self) -> bool {
        true
    }

    fn read(&self, buffers: &[VolatileSlice<'_>], offset: u64) -> io::Result<()> {
        let mut at = offset;
        for buffer in buffers {
            let end = at + buffer.len() as u64;
            buffer.copy_from(&vec![0_u8; buffer.len()]);
            let first = self.first_after(at);
            for (index, chunk) in self.chunks.iter().enumerate().skip(first) {
                if chunk.offset >= end {
                    break;
                }
                let contents = self.contents(index, chunk).map_err(as_io_error)?;
                let (from, to) = (at.max(chunk.offset), end.min(chunk.offset + chunk.length));
                let part = contents.get((from - chunk.offset) as usize..(to - chunk.offset) as usize);
                let into = buffer.subslice((from - at) as usize, (to - from) as usize);
                into.map_err(io::Error::other)?.copy_from(part.unwrap_or_default());
            }
            at = end;
        }
        Ok(())
    }

    fn write(&self, _: &[VolatileSlice<'_>], _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn write_zeroes(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        Err(read_only())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let chunk = self.chunks.get(self.first_after(offset));
        Ok(chunk.map(|chunk| chunk.offset.max(offset)..chunk.offset + chunk.length))
    }
}

fn read_only() -> io::Error {
    io::Error::from_raw_os_error(libc::EROFS)
}

fn as_io_error(error: crate::Error) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::CorruptArchive => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
