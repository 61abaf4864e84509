//! What the fuzzers in `fuzz/` reach, in plain types. It is there only when cargo-fuzz builds.

use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::AtomicU64;
use std::thread;

use bytes::Bytes;

use super::codec::{self, Frame, SeekTable, Stream};
use super::configure::{Choices, configure};
use super::ova::{self, Document, Expected};
use super::read::{self, Consumer, Defect, Outcome, Severity};
use super::tar::{EntryKind, Walk};
use super::write::Index;
use super::{Appliance, Compression, ReadOptions};
use crate::Result;
use crate::config::{Disk, MAX_VCPUS, Nic};

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

/// A disk that an archive should hold.
#[derive(Debug, PartialEq, Eq)]
pub struct ExpectedDisk {
    pub id: String,
    pub size: u64,
    pub required: bool,
}

impl From<Expected> for ExpectedDisk {
    fn from(disk: Expected) -> Self {
        Self { id: disk.id, size: disk.size, required: disk.required }
    }
}

/// An `ova.xml` that was read.
#[derive(Debug)]
pub struct Ova(Document);

impl Ova {
    pub fn parse(xml: &[u8]) -> Result<Self> {
        Document::parse(xml).map(Self)
    }

    pub fn to_xml(&self) -> String {
        self.0.to_xml()
    }

    pub fn appliance(&self) -> Result<Appliance> {
        Appliance::read(&self.0)
    }

    pub fn expected(&self) -> Result<Vec<ExpectedDisk>> {
        Ok(self.0.expected()?.into_iter().map(ExpectedDisk::from).collect())
    }

    /// Makes a configuration of it and an appliance of that, which has other disks than before: these capacities in bytes,
    /// and so many more NICs. Answers with the disks of the new one, by id and size.
    pub fn compose(self, capacities: &[u64], nics: usize, preserve: bool) -> Result<(Self, Vec<(String, u64)>)> {
        let disks = capacities.iter().map(|_| Disk::raw("disk")).collect::<Vec<_>>();
        let choices = Choices { preserve, ..Choices::default() };
        let (mut config, _) = configure(&self.0, disks.clone(), &choices)?;
        assert!((1..=MAX_VCPUS).contains(&config.cpus.count) && config.memory.bytes() % 4096 == 0);
        let known = config.disks.len();
        config.disks.extend(disks.into_iter().skip(known));
        config.nics.extend((0..nics).map(|_| Nic::new_tap()));
        let (document, slots) = ova::compose(&config, capacities, Some(self.0))?;
        Ok((Self(document), slots.into_iter().map(|slot| (slot.id, slot.size)).collect()))
    }
}

/// Who takes what the reading driver hands on.
pub trait Receiver: Sync {
    /// Takes bytes of a disk, by its place among the expected ones.
    fn chunk(&self, disk: usize, offset: u64, pieces: &[Bytes]);

    /// Hears of a defect, and whether it is damage or missing protection.
    fn defect(&self, serious: bool, disk: Option<usize>);
}

struct Adapter<'a>(&'a dyn Receiver);

impl Consumer for Adapter<'_> {
    fn begin(&self, _: &Document, _: &[Expected]) -> Result<()> {
        Ok(())
    }

    fn chunk(&self, disk: usize, offset: u64, pieces: &[Bytes]) -> Result<()> {
        self.0.chunk(disk, offset, pieces);
        Ok(())
    }

    fn defect(&self, defect: Defect) -> Result<()> {
        self.0.defect(defect.severity != Severity::Harmless, defect.disk);
        Ok(())
    }
}

/// Reads an archive. Answers how far each disk came by, in the order of the expected ones.
pub fn read(input: impl Read + Send, receiver: &dyn Receiver) -> Result<Vec<(ExpectedDisk, u64)>> {
    let Outcome { disks, failure, .. } = read::read(input, ReadOptions::default(), &Adapter(receiver), &())?;
    let reached = disks.into_iter().map(|disk| (disk.expected.into(), disk.offset)).collect();
    failure.map_or(Ok(reached), Err)
}

/// Decompresses an input, or as much of it as gives `most` bytes.
pub fn decode(input: impl Read + Send, most: usize) -> Result<(Compression, Vec<u8>)> {
    let opened = codec::open(input)?;
    let compression = opened.compression;
    let read = AtomicU64::new(0);
    thread::scope(|scope| {
        let mut stream = codec::decode(scope, opened, ReadOptions::default(), &read);
        let mut content = Vec::new();
        while let Some(piece) = stream.next_piece()?.filter(|_| content.len() < most) {
            content.extend_from_slice(&piece);
        }
        content.truncate(most);
        Ok((compression, content))
    })
}

/// The seek table at the end of a file: offset, length and content of each frame, in bytes.
pub fn seek_table(file: &File) -> io::Result<Option<Vec<(u64, u32, u32)>>> {
    let frames = |table: &SeekTable| {
        let frame = |Frame { offset, length, content }: &Frame| (*offset, *length, *content);
        table.frames().iter().map(frame).collect()
    };
    Ok(SeekTable::read(file)?.as_ref().map(frames))
}

/// The chunk index in a frame: ids of disks, and how many runs of chunks each has.
pub fn index(frame: &[u8]) -> Option<Vec<(String, usize)>> {
    let index = Index::from_frame(frame)?;
    Some(index.disks().iter().map(|disk| (disk.id.clone(), disk.chunks.len())).collect())
}
