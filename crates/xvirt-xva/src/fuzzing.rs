//! The interface of the fuzzers in `fuzz/`, in plain types. Only cargo-fuzz builds it.

use std::io::{self, Read};
use std::thread;

use bytes::Bytes;

use crate::codec::{self, Compression, Frame, SeekTable};
use crate::index::Index;
use crate::input::ReadAt;
use crate::options::ReadOptions;
use crate::ova::ExpectedDisk;
use crate::read::{DiskSink, Outcome, as_far_as_possible};
use crate::stream::Stream;
use crate::tar::{EntryKind, Walk};
use crate::{Error, Result};

/// A member of a tar archive.
#[derive(Debug, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub size: u64,
    pub file: bool,
    /// The first bytes of its data, up to the given limit.
    pub start: Vec<u8>,
}

/// The members of a tar archive up to its end or an error, and the number of bytes read.
pub fn members(pieces: &mut dyn Iterator<Item = Bytes>, most: u64) -> (Vec<Member>, u64, Result<()>) {
    let mut walk = Walk::new(Stream::new(|| Ok(pieces.next())));
    let mut found = Vec::new();
    let result = loop {
        match walk.next() {
            Ok(Some(entry)) => match walk.take(most) {
                Ok(start) => found.push(Member {
                    name: entry.name,
                    size: entry.size,
                    file: entry.kind == EntryKind::File,
                    start: start.concat(),
                }),
                Err(error) => break Err(error),
            },
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    (found, walk.position(), result)
}

/// Reads an archive. Returns how far each expected disk was read, in order.
pub fn read(input: impl Read + Send, sink: &dyn DiskSink<Error = Error>) -> Result<Vec<(ExpectedDisk, u64)>> {
    let Outcome { disks, failure, .. } = as_far_as_possible(input, &ReadOptions::default(), sink, &())?;
    let reached = disks.into_iter().map(|disk| (disk.expected, disk.offset)).collect();
    failure.map_or(Ok(reached), Err)
}

/// Decompresses an input up to `most` bytes.
pub fn decode(input: impl Read + Send, most: usize) -> Result<(Compression, Vec<u8>)> {
    let opened = codec::open(input)?;
    let compression = opened.compression;
    let counters = codec::Counters::default();
    thread::scope(|scope| {
        let mut stream = codec::decode(scope, opened, ReadOptions::default().max_window, &counters);
        let mut content = Vec::new();
        while let Some(piece) = stream.next_piece()?.filter(|_| content.len() < most) {
            content.extend_from_slice(&piece);
        }
        content.truncate(most);
        Ok((compression, content))
    })
}

/// The seek table at the end of an archive: offset, compressed and decompressed length of each frame, in bytes.
pub fn seek_table(input: &dyn ReadAt) -> io::Result<Option<Vec<(u64, u32, u32)>>> {
    let frames = |table: &SeekTable| {
        let frame = |Frame { offset, length, content }: &Frame| (*offset, *length, *content);
        table.frames().iter().map(frame).collect()
    };
    Ok(SeekTable::read(input)?.as_ref().map(frames))
}

/// The chunk index in a frame: disk ids, and the number of each disk's runs of chunks.
pub fn index(frame: &[u8]) -> Option<Vec<(String, usize)>> {
    let index = Index::from_frame(frame)?;
    Some(index.disks().iter().map(|disk| (disk.id.clone(), disk.chunks.len())).collect())
}
