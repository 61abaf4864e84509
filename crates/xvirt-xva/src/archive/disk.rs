//! A disk inside an archive.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::Source;
use super::chunks::{self, Chunk, Place, cannot_read};
use crate::Result;
use crate::chunk::{MEMBER, Name, Sum, name};
use crate::error::corrupt;
use crate::input::read_exact_at;
use crate::stream::Stream;
use crate::tar::{BLOCK, Entry, EntryKind, Walk};
use crate::thread::lock;

/// The number of cached chunks: a reader of small pieces needs each chunk several times.
const KEPT: usize = 4;

/// A disk of an archive. Several threads may read it.
#[derive(Debug)]
pub struct ArchiveDisk {
    source: Arc<Source>,
    id: String,
    size: u64,
    chunks: Vec<Chunk>,
    /// The cached chunks by their index, the most recent first.
    kept: Mutex<VecDeque<(usize, Bytes)>>,
}

impl ArchiveDisk {
    pub(super) fn new(source: Arc<Source>, id: String, size: u64, chunks: Vec<Chunk>) -> Self {
        Self { source, id, size, chunks, kept: Mutex::default() }
    }

    /// Its folder in the archive.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads from `offset` into `buffer`. Bytes beyond the end of the disk are zeroes.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if a chunk is damaged, which the message names; or the archive cannot be
    /// read.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let end = offset.saturating_add(buffer.len() as u64);
        buffer.fill(0);
        for (index, chunk) in self.chunks.iter().enumerate().skip(self.first_after(offset)) {
            if chunk.offset >= end {
                break;
            }
            let contents = self.contents(index, chunk)?;
            let (from, to) = (offset.max(chunk.offset), end.min(chunk.offset + chunk.length));
            let part = contents.get((from - chunk.offset) as usize..(to - chunk.offset) as usize);
            let into = buffer.get_mut((from - offset) as usize..(to - offset) as usize);
            if let (Some(part), Some(into)) = (part, into) {
                into.copy_from_slice(part);
            }
        }
        Ok(())
    }

    /// The first range at or after `offset` that may contain data; `None` if the rest is zeroes.
    pub fn next_data(&self, offset: u64) -> Option<Range<u64>> {
        let chunk = self.chunks.get(self.first_after(offset))?;
        Some(chunk.offset.max(offset)..chunk.offset + chunk.length)
    }

    /// The first chunk that ends after `offset`.
    fn first_after(&self, offset: u64) -> usize {
        self.chunks.partition_point(|chunk| chunk.offset + chunk.length <= offset)
    }

    /// Reads and checks a chunk.
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
        let mut member = name(&self.id, chunk.number);
        let bytes = match chunk.place {
            Place::Frame(frame) => chunks::decompress(&self.source, &frame, MEMBER)?,
            Place::Plain(at) => self.read_plain(at, chunk)?,
        };
        let mut pieces = Some(Bytes::from(bytes));
        let mut walk = Walk::new(Stream::new(move || Ok(pieces.take())));
        let is_it = |name: &str| Name::parse(name) == Name::Chunk { disk: &self.id, number: chunk.number };
        let fits = |entry: &Entry| is_it(&entry.name) && entry.kind == EntryKind::File && entry.size >= chunk.length;
        let entry = walk.next()?.filter(fits);
        let entry = entry.ok_or_else(|| corrupt(&member, "it is not at the position given in the index"))?;
        // Its number may be padded otherwise.
        member.clone_from(&entry.name);
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

    /// Reads the members of a chunk and its checksum in an uncompressed archive.
    fn read_plain(&self, at: u64, chunk: &Chunk) -> Result<Vec<u8>> {
        let end = self.source.input.size().map_err(|error| cannot_read(&self.source, error))?;
        // Long names need two more blocks before each of the two members.
        let most = chunk.length.next_multiple_of(BLOCK as u64) + 16 * BLOCK as u64;
        let mut bytes = vec![0; most.min(end.saturating_sub(at)) as usize];
        read_exact_at(&*self.source.input, &mut bytes, at).map_err(|error| cannot_read(&self.source, error))?;
        Ok(bytes)
    }
}
