//! Writes an archive sequentially with all CPUs.
//!
//! `plan` lists the chunks that may contain data, `member` formats each, and `encode` compresses it independently,
//! which allows parallel work and random access. The caller's thread writes.

mod encode;
mod member;
mod plan;
mod source;

use std::io::Write;

use encode::{Encoded, Encoder};
use member::{Members, Piece};
use plan::Plan;
pub use source::{DiskContents, DiskSource};
use source::{Source, sources};

use crate::chunk::{CHUNK, MEMBER};
use crate::codec::{Compression, SeekTable};
use crate::index::Index;
use crate::options::WriteOptions;
use crate::ova::Document;
use crate::pool::Pool;
use crate::progress::{Progress, is_cancelled, step};
use crate::tar::BLOCK;
use crate::{Error, ErrorKind, Result, parallel};

/// Writes an archive that XenServer and XCP-ng can import, and returns its size in bytes.
///
/// `disks` are the contents of the disks in `document`. `output` receives the archive in one pass, in a few large
/// writes per megabyte. Zeroes are omitted, as far as the format allows.
///
/// # Errors
/// [`InvalidInput`](ErrorKind::InvalidInput) if the disks do not match the document, or the compression does not have
/// this level; [`NoSpace`](ErrorKind::NoSpace) if `output` is full; a disk cannot be read, or `output` cannot be
/// written; or the operation was cancelled. The bytes written so far are not a valid archive.
///
/// # Examples
///
/// ```
/// use xvirt_xva::ova::Document;
/// use xvirt_xva::{DiskContents, WriteOptions};
///
/// let root = b"the first bytes of a disk".to_vec(); // or a file, or any other `DiskSource`
/// let mut document = Document::new_vm("web");
/// document.set_vcpus(2)?;
/// document.set_memory(2 << 30)?;
/// let disk = document.add_disk("root", root.len() as u64)?;
/// document.add_network_interface(None)?;
/// document.complete()?;
///
/// let mut archive = Vec::new();
/// let disks = [DiskContents { id: &disk.vdi, source: &root }];
/// xvirt_xva::write(&mut archive, &document, &disks, &WriteOptions::zstd(), &())?;
/// # assert!(xvirt_xva::verify(&archive[..], &Default::default(), &())?.good);
/// # Ok::<(), xvirt_xva::Error>(())
/// ```
pub fn write(
    mut output: impl Write,
    document: &Document,
    disks: &[DiskContents<'_>],
    options: &WriteOptions,
    progress: &dyn Progress,
) -> Result<u64> {
    options.check()?;
    write_sources(&mut output, document, &sources(document, disks)?, options, progress)
}

fn write_sources(
    output: &mut dyn Write,
    document: &Document,
    disks: &[Source<'_>],
    options: &WriteOptions,
    progress: &dyn Progress,
) -> Result<u64> {
    let total = disks.iter().map(|disk| disk.size).sum();
    let plan = Plan::new(disks, || is_cancelled(progress));
    let members = Members { disks, checksum: options.checksum, pool: Pool::new(MEMBER) };
    let mut archive = Archive {
        output,
        written: 0,
        table: SeekTable::default(),
        index: Index::new(disks.iter().map(|disk| disk.id.as_str())),
    };
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
                source.contents.release((piece.number + 1) * CHUNK);
            }
            content.map_or(Ok(()), |content| archive.chunk(&piece, &content))
        },
    )?;
    archive.put(&encoder.encode(vec![0; 2 * BLOCK].into())?)?;
    if options.compression == Compression::Zstd {
        archive.finish_zstd()?;
    }
    archive.output.flush().map_err(cannot_write)?;
    step(progress, total, Some(total), "the export")?;
    Ok(archive.written)
}

/// The number of threads that prepare chunks. Without compression, preparing a chunk takes less time than writing it.
fn workers(compression: Compression) -> usize {
    match compression {
        Compression::None => parallel::threads().saturating_sub(1).max(1),
        _ => parallel::threads(),
    }
}

/// The output so far.
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

    /// Appends the index and the seek table, in frames that decompressors skip.
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
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Error::new(ErrorKind::NoSpace, "cannot write the archive")
                .because(error)
                .with_remedy("make room where it is written to, or compress it")
        }
        _ => Error::io("cannot write the archive", error),
    }
}
