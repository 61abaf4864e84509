//! Locates the chunks of an archive.

use std::collections::BTreeMap;
use std::io;

use super::Source;
use crate::chunk::{CHUNK, Layout, MAX_CHUNK, MEMBER, Name, Role, name};
use crate::codec::{self, Compression, Frame, SeekTable};
use crate::error::{corrupt, unsupported, without_chunk};
use crate::index::Index;
use crate::input::{Cursor, read_exact_at};
use crate::ova::{self, Document, ExpectedDisk};
use crate::stream::Stream;
use crate::tar::{self, BLOCK, Walk};
use crate::{Error, Result};

/// The size limit of an index: that of a 2 TiB disk in which every second MiB is empty.
const MAX_INDEX: usize = 16 << 20;

/// The chunks of each disk by disk id, in ascending order.
pub(super) type Map = BTreeMap<String, Vec<Chunk>>;

/// The position of a chunk on its disk and in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// The offset on the disk in bytes.
    pub(super) offset: u64,
    /// The length on the disk in bytes.
    pub(super) length: u64,
    pub(super) number: u64,
    pub(super) place: Place,
}

/// The start of a chunk's member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In its own zstd frame.
    Frame(Frame),
    /// At this offset of an uncompressed archive.
    Plain(u64),
}

/// Locates the metadata and all chunks of an archive.
pub(super) fn find(source: &Source) -> Result<(Document, Map)> {
    let cannot = |error| cannot_read(source, error);
    let opened = codec::open(Cursor::new(&*source.input, 0))?;
    match opened.compression {
        Compression::None => plain(source),
        Compression::Zstd => match SeekTable::read(&*source.input).map_err(cannot)? {
            Some(table) => frames(source, table.frames()),
            None => Err(unseekable(source, "zstd in a way that has no index")),
        },
        Compression::Gzip => Err(unseekable(source, "gzip")),
    }
}

/// Walks from header to header.
fn plain(source: &Source) -> Result<(Document, Map)> {
    let mut walk = Walk::new(Stream::new(pieces(source, 0, 64 << 10)));
    let first = walk.next()?.filter(|entry| entry.name == "ova.xml");
    first.ok_or_else(|| corrupt("ova.xml", "it is not the first member"))?;
    let document = Document::parse(&walk.take_all(ova::MAX_BYTES)?)?;
    let expected = document.expected()?;
    let mut layout = Layout::new(&expected);
    let mut map = Map::new();
    let mut last = String::new();
    let mut at = walk.position().next_multiple_of(BLOCK as u64);
    loop {
        // A new walk for each member, because the data in between is not read.
        let mut walk = Walk::new(Stream::new(pieces(source, at, BLOCK)));
        let Some(entry) = walk.next()? else { break };
        let role = Role::of(&entry, &expected);
        let is_chunk = matches!(role, Role::Chunk { .. });
        match role {
            Role::Chunk { disk, number } => {
                if entry.size > MAX_CHUNK {
                    return Err(corrupt(&entry.name, format!("{} bytes are too many for a chunk", entry.size)));
                }
                let place = layout.place(disk, number, entry.size).map_err(|why| why.error(&entry.name))?;
                layout.pass(&place);
                let chunk = Chunk { offset: place.offset, length: place.length, number, place: Place::Plain(at) };
                map.entry(disk.to_owned()).or_default().extend((place.length > 0).then_some(chunk));
            }
            Role::Checksum => match Name::parse(&entry.name) {
                Name::Checksum { chunk, .. } if chunk == last => {}
                _ => return Err(without_chunk(&entry.name)),
            },
            Role::Misfit(misfit) => return Err(misfit.error),
            Role::Other => {}
        }
        last.clone_from(&entry.name);
        let end = at.checked_add(walk.position()).and_then(|end| end.checked_add(entry.size));
        let end = end.filter(|end| *end <= u64::MAX - BLOCK as u64);
        let end = end.ok_or_else(|| corrupt(&entry.name, "its size is invalid"))?;
        let padding = entry.size.wrapping_neg() % BLOCK as u64;
        at = if padding > 0 && is_chunk && is_header_at(source, end)? { end } else { end + padding };
    }
    Ok((document, map))
}

/// Whether a member begins at this offset, in place of the padding of the one before.
fn is_header_at(source: &Source, at: u64) -> Result<bool> {
    let piece = pieces(source, at, BLOCK)()?;
    Ok(piece.is_some_and(|block| tar::is_header(&block)))
}

/// The archive from an offset, in pieces of `size` bytes.
fn pieces(source: &Source, at: u64, size: usize) -> impl FnMut() -> Result<Option<bytes::Bytes>> + '_ {
    let mut input = Cursor::new(&*source.input, at);
    move || {
        let mut piece = vec![0; size];
        let length = codec::fill(&mut input, &mut piece).map_err(|error| cannot_read(source, error))?;
        piece.truncate(length);
        Ok((length > 0).then(|| piece.into()))
    }
}

/// Combines the index and the seek table.
fn frames(source: &Source, frames: &[Frame]) -> Result<(Document, Map)> {
    // The metadata, one frame per chunk, the end of the archive, and the index.
    let [metadata, chunks @ .., _, index] = frames else { return Err(unseekable(source, "zstd by another program")) };
    if index.length as usize > MAX_INDEX {
        return Err(unseekable(source, "zstd, and has an index that is too large"));
    }
    let index = read_frame(source, index, MAX_INDEX)?;
    let Some(index) = Index::from_frame(&index) else { return Err(unseekable(source, "zstd by another program")) };
    let document = metadata_in(&decompress(source, metadata, ova::MAX_BYTES as usize)?)?;
    let expected = document.expected()?;
    let mut left = chunks.iter();
    let mut map = Map::new();
    for disk in index.disks() {
        let size = expected.iter().find(|other| other.id == disk.id).map_or(0, |disk: &ExpectedDisk| disk.size);
        let mut found: Vec<Chunk> = Vec::new();
        for &(first, count) in &disk.chunks {
            for number in (first..).take(count.min(left.len() as u64 + 1) as usize) {
                let frame = left.next().filter(|frame| frame.content as usize <= MEMBER);
                let offset = number.checked_mul(CHUNK).filter(|offset| *offset < size);
                let ascending = found.last().is_none_or(|last| last.number < number);
                let (Some(frame), Some(offset), true) = (frame, offset, ascending) else {
                    return Err(corrupt(&name(&disk.id, number), "the index of the archive does not fit"));
                };
                let length = CHUNK.min(size - offset);
                found.push(Chunk { offset, length, number, place: Place::Frame(*frame) });
            }
        }
        map.insert(disk.id.clone(), found);
    }
    if left.next().is_some() {
        return Err(corrupt("index", "it lists fewer chunks than the archive contains"));
    }
    Ok((document, map))
}

fn metadata_in(member: &[u8]) -> Result<Document> {
    let mut pieces = Some(bytes::Bytes::copy_from_slice(member));
    let mut walk = Walk::new(Stream::new(move || Ok(pieces.take())));
    match walk.next()? {
        Some(entry) if entry.name == "ova.xml" => Document::parse(&walk.take_all(ova::MAX_BYTES)?),
        _ => Err(corrupt("ova.xml", "it is not the first member")),
    }
}

/// The contents of a frame, at most `most` bytes.
pub(super) fn decompress(source: &Source, frame: &Frame, most: usize) -> Result<Vec<u8>> {
    let content = frame.content as usize;
    let place = || format!("at byte {}", frame.offset);
    if content > most {
        return Err(corrupt(&place(), "a frame is too large"));
    }
    let compressed = read_frame(source, frame, zstd::zstd_safe::compress_bound(most))?;
    let plain = zstd::bulk::decompress(&compressed, content);
    let plain = plain.map_err(|error| corrupt(&place(), "a frame of the zstd stream is damaged").because(error))?;
    if plain.len() == content {
        Ok(plain)
    } else {
        Err(corrupt(&place(), "a frame is shorter than the seek table says"))
    }
}

/// The compressed bytes of a frame, at most `most`.
fn read_frame(source: &Source, frame: &Frame, most: usize) -> Result<Vec<u8>> {
    if frame.length as usize > most {
        return Err(corrupt(&format!("at byte {}", frame.offset), "a frame is too large"));
    }
    let mut bytes = vec![0; frame.length as usize];
    read_exact_at(&*source.input, &mut bytes, frame.offset).map_err(|error| cannot_read(source, error))?;
    Ok(bytes)
}

pub(super) fn cannot_read(source: &Source, error: io::Error) -> Error {
    Error::io(format!("cannot read the archive {}", source.name), error)
}

fn unseekable(source: &Source, how: &str) -> Error {
    unsupported(
        format!("the archive {} is compressed with {how}: it can only be read sequentially", source.name),
        "import it; archives that xvirt exports with zstd or without compression can be used directly",
    )
}
