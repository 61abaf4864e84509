//! What the fuzzers in `fuzz/` reach, in plain types. It is there only when cargo-fuzz builds.

use std::io::{self, Read};
use std::sync::atomic::AtomicU64;
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
    /// The first bytes of its data, as many as were asked for.
    pub start: Vec<u8>,
}

/// The members of a tar archive up to its end or a failure, and how many bytes were passed.
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

/// Reads an archive. Answers how far each disk came by, in the order of the expected ones.
pub fn read(input: impl Read + Send, sink: &dyn DiskSink<Error = Error>) -> Result<Vec<(ExpectedDisk, u64)>> {
    let Outcome { disks, failure, .. } = as_far_as_possible(input, &ReadOptions::default(), sink, &())?;
    let reached = disks.into_iter().map(|disk| (disk.expected, disk.offset)).collect();
    failure.map_or(Ok(reached), Err)
}

/// Decompresses an input, or as much of it as gives `most` bytes.
pub fn decode(input: impl Read + Send, most: usize) -> Result<(Compression, Vec<u8>)> {
    let opened = codec::open(input)?;
    let compression = opened.compression;
    let read = AtomicU64::new(0);
    thread::scope(|scope| {
        let mut stream = codec::decode(scope, opened, ReadOptions::default().max_window, &read);
        let mut content = Vec::new();
        while let Some(piece) = stream.next_piece()?.filter(|_| content.len() < most) {
            content.extend_from_slice(&piece);
        }
        content.truncate(most);
        Ok((compression, content))
    })
}

/// The seek table at the end of an archive: offset, length and content of each frame, in bytes.
pub fn seek_table(input: &dyn ReadAt) -> io::Result<Option<Vec<(u64, u32, u32)>>> {
    let frames = |table: &SeekTable| {
        let frame = |Frame { offset, length, content }: &Frame| (*offset, *length, *content);
        table.frames().iter().map(frame).collect()
    };
    Ok(SeekTable::read(input)?.as_ref().map(frames))
}

/// The chunk index in a frame: ids of disks, and how many runs of chunks each has.
pub fn index(frame: &[u8]) -> Option<Vec<(String, usize)>> {
    let index = Index::from_frame(frame)?;
    Some(index.disks().iter().map(|disk| (disk.id.clone(), disk.chunks.len())).collect())
}
