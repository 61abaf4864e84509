//! Writing an archive once, from its first byte to its last, with all processors.
//!
//! `plan` lists the chunks that may hold anything, `member` makes the bytes of each, and `encode` compresses them, each
//! chunk on its own: then all processors can work, and a reader can get at any chunk. `index` at the end of a zstd
//! archive says which chunk is where. The caller's thread writes.

mod encode;
mod index;
mod member;
mod plan;

use std::io::Write;
use std::sync::Arc;

use encode::{Encoded, Encoder};
pub(super) use index::Index;
use member::{Members, Piece};
use plan::Plan;

use super::chunk::CHUNK;
use super::codec::{Compression, Pool, SeekTable};
use super::export::Export;
use super::ova::Document;
use super::parallel;
use crate::disk::BlockBackend;
use crate::progress::{Progress, step};
use crate::{Error, ErrorKind, Result};

/// A disk to be written, under the id of its VDI object.
pub(super) struct Source {
    pub(super) id: String,
    /// The size that `ova.xml` says, in bytes: that of the disk or more, up to which zeroes follow.
    pub(super) size: u64,
    pub(super) disk: Arc<dyn BlockBackend>,
    /// Hears up to where the disk will not be read any more, in bytes.
    pub(super) passed: Box<dyn Fn(u64) + Send + Sync>,
}

/// The room for a chunk with everything around it: two headers, and the checksum in a block of its own.
pub(super) const MEMBER: usize = CHUNK as usize + 3 * super::tar::BLOCK;

/// Writes an archive; answers how many bytes it has.
pub(super) fn write(
    output: &mut dyn Write,
    document: &Document,
    mut disks: Vec<Source>,
    options: &Export,
    progress: &dyn Progress,
) -> Result<u64> {
    // The order in which an importer expects them.
    disks.sort_by(|one, other| one.id.as_bytes().cmp(other.id.as_bytes()));
    let total = disks.iter().map(|disk| disk.size).sum();
    let plan = Plan::new(&disks, || progress.cancelled());
    let members = Members { disks: &disks, checksum: options.checksum, pool: Pool::new(MEMBER) };
    let mut archive = Archive { output, written: 0, table: SeekTable::default(), index: Index::new(&disks) };
    let mut encoder = Encoder::new(options);
    archive.put(&encoder.encode(member::file("ova.xml", document.to_xml().as_bytes()).into())?)?;
    let encoded = |encoder: &mut Encoder, job| {
        let mut piece = members.make(job)?;
        let content = piece.bytes.take().map(|bytes| encoder.encode(bytes)).transpose()?;
        Ok((piece, content))
    };
    parallel::in_order(
        workers(options.compression),
        plan,
        || Encoder::new(options),
        encoded,
        |(piece, content)| {
            step(progress, piece.done, Some(total), "the export")?;
            if let Some(source) = disks.get(piece.disk) {
                (source.passed)((piece.number + 1) * CHUNK);
            }
            content.map_or(Ok(()), |content| archive.chunk(&piece, &content))
        },
    )?;
    archive.put(&encoder.encode(vec![0; 2 * super::tar::BLOCK].into())?)?;
    if options.compression == Compression::Zstd {
        archive.finish_zstd()?;
    }
    archive.output.flush().map_err(cannot_write)?;
    step(progress, total, Some(total), "the export")?;
    Ok(archive.written)
}

/// How many threads make chunks. Without compression there is less to do than writing, which is not to wait for them.
fn workers(compression: Compression) -> usize {
    match compression {
        Compression::None => parallel::threads().saturating_sub(1).max(1),
        _ => parallel::threads(),
    }
}

/// What was written so far.
struct Archive<'a> {
    output: &'a mut dyn Write,
    written: u64,
    table: SeekTable,
    index: Index,
}

impl Archive<'_> {
    fn chunk(&mut self, piece: &Piece, content: &Encoded) -> Result<()> {
        self.index.push(piece.disk, piece.number);
        self.put(content)
    }

    fn put(&mut self, content: &Encoded) -> Result<()> {
        self.output.write_all(&content.bytes).map_err(cannot_write)?;
        self.written += content.bytes.len() as u64;
        self.table.push(content.bytes.len() as u32, content.plain as u32);
        Ok(())
    }

    /// Adds where everything is, in frames that decompressors pass over.
    fn finish_zstd(&mut self) -> Result<()> {
        let index = self.index.to_frame();
        self.table.push(index.len() as u32, 0);
        for bytes in [index, self.table.to_bytes()] {
            self.output.write_all(&bytes).map_err(cannot_write)?;
            self.written += bytes.len() as u64;
        }
        Ok(())
    }
}

fn cannot_write(error: std::io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => Error::new(ErrorKind::NoSpace, "cannot write the archive")
            .because(error)
            .remedy("make room where it is written to, or compress it"),
        _ => Error::io("cannot write the archive", error),
    }
}
