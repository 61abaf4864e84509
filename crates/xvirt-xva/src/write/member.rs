//! Formats a chunk as members of the archive: header and contents of the chunk, and of its checksum.

use bytes::Bytes;

use super::plan::Job;
use super::source::Source;
use crate::chunk::{CHUNK, Checksum, Sum, name};
use crate::input::read_exact_at;
use crate::pool::Pool;
use crate::tar::{BLOCK, file_header};
use crate::zeroes::is_zero;
use crate::{Error, Result};

/// The number of bytes read at once.
const PIECE: usize = 128 << 10;

/// Formats chunks.
pub(super) struct Members<'a> {
    pub(super) disks: &'a [Source<'a>],
    pub(super) checksum: Checksum,
    pub(super) pool: Pool,
}

/// A formatted chunk.
pub(super) struct Piece {
    pub(super) disk: usize,
    pub(super) number: u64,
    pub(super) done: u64,
    /// `None` if the chunk is all zeroes and may be omitted.
    pub(super) bytes: Option<Bytes>,
}

impl Members<'_> {
    pub(super) fn make(&self, job: Job) -> Result<Piece> {
        let mut piece = Piece { disk: job.disk, number: job.number, done: job.done, bytes: None };
        let Some(source) = self.disks.get(job.disk) else { return Ok(piece) };
        let offset = job.number * CHUNK;
        let length = (source.size - offset).min(CHUNK) as usize;
        let mut buffer = self.pool.take();
        let (header, rest) = buffer.split_at_mut(BLOCK);
        let (data, rest) = rest.split_at_mut(length);
        let (there, beyond) = data.split_at_mut(source.available.saturating_sub(offset).min(length as u64) as usize);
        beyond.fill(0);
        // In pieces that stay in the CPU's cache until they are summed.
        let mut sum = Sum::new(self.checksum);
        let mut zero = is_zero(beyond);
        for (at, piece) in (offset..).step_by(PIECE).zip(there.chunks_mut(PIECE)) {
            read_exact_at(source.contents, piece, at)
                .map_err(|error| Error::io(format!("cannot read byte {at} of disk {}", source.id), error))?;
            zero &= is_zero(piece);
            sum.update(piece);
        }
        sum.update(beyond);
        if !job.required && zero {
            self.pool.give_back(buffer);
            return Ok(piece);
        }
        let chunk = name(&source.id, job.number);
        header.copy_from_slice(&file_header(&chunk, length as u64));
        let checksum = sum.finish();
        let (header, text) = rest.split_at_mut(BLOCK);
        header.copy_from_slice(&file_header(&(chunk + self.checksum.extension()), checksum.len() as u64));
        let text = text.get_mut(..BLOCK).unwrap_or_default();
        text.fill(0);
        text.iter_mut().zip(checksum.bytes()).for_each(|(to, from)| *to = from);
        piece.bytes = Some(self.pool.share(buffer, length + 3 * BLOCK));
        Ok(piece)
    }
}

/// The bytes of a whole member.
pub(super) fn file(name: &str, contents: &[u8]) -> Vec<u8> {
    let mut bytes = [&file_header(name, contents.len() as u64), contents].concat();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}
