//! Reading an archive once, from its first byte to its last, with all processors.
//!
//! One thread decompresses (see `codec`), the caller's goes from member to member, and several check the chunks and hand
//! those that are right to a [`Consumer`], which may write them at once. At no time more than a few chunks are in memory.

mod check;
mod table;

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use bytes::Bytes;

use check::{Checkers, Job};
use table::Checksums;

use super::chunk::{Checksum, Layout, MOST_CHUNK, Name};
use super::codec::{self, Compression};
use super::error::corrupt;
use super::options::ReadOptions;
use super::ova::{Document, Expected};
use super::tar::{Entry, EntryKind, Walk};
use crate::progress::{Progress, step};
use crate::{Error, Result};

/// The most bytes that `ova.xml` may have; real ones have some ten thousand.
pub(super) const MOST_METADATA: u64 = 16 << 20;
/// The most bytes that a checksum may have.
const MOST_CHECKSUM: u64 = 128;

/// What is done with the contents of an archive. An error of any of these ends the reading.
pub(super) trait Consumer: Sync {
    /// Hears what the appliance is, before any disk comes.
    fn begin(&self, document: &Document, disks: &[Expected]) -> Result<()>;

    /// Takes bytes of a disk whose checksum is right. May be called by several threads at once, in any order.
    fn chunk(&self, disk: usize, offset: u64, pieces: &[Bytes]) -> Result<()>;

    /// Hears what is wrong, where reading can go on in spite of it.
    fn defect(&self, defect: Defect) -> Result<()>;
}

/// Something that is wrong with an archive.
#[derive(Debug)]
pub(super) struct Defect {
    pub(super) severity: Severity,
    /// The disk whose contents are affected.
    pub(super) disk: Option<usize>,
    pub(super) error: Error,
}

/// How bad a defect is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// It is not as it should be, but nothing is lost.
    Harmless,
    /// Nothing says whether it is right.
    Unchecked,
    /// Contents are wrong or missing.
    Damage,
}

/// How far an archive could be read, and what came by.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) compression: Compression,
    pub(super) document: Option<Document>,
    pub(super) disks: Vec<DiskOutcome>,
    pub(super) checksums: BTreeSet<Checksum>,
    /// Bytes of the archive, as it is and decompressed.
    pub(super) read: u64,
    pub(super) decompressed: u64,
    /// Why it could not be read to the end.
    pub(super) failure: Option<Error>,
}

/// What came by of a disk.
#[derive(Debug)]
pub(super) struct DiskOutcome {
    pub(super) expected: Expected,
    /// Up to where it came by, in bytes.
    pub(super) offset: u64,
    pub(super) begun: bool,
}

/// Reads an archive. Only what is no archive at all is an error; all else is in the outcome.
pub(super) fn read(
    input: impl Read + Send,
    options: ReadOptions,
    consumer: &dyn Consumer,
    progress: &dyn Progress,
) -> Result<Outcome> {
    let opened = codec::open(input)?;
    let compression = opened.compression;
    let read = AtomicU64::new(0);
    let mut reading = Reading::new(consumer);
    let mut decompressed = 0;
    let failure = thread::scope(|scope| {
        let checkers = Checkers::spawn(scope, consumer);
        let mut walk = Walk::new(codec::decode(scope, opened, options, &read));
        let mut report = || step(progress, read.load(Ordering::Relaxed), None, "reading the archive");
        let walked = reading.members(&mut walk, &checkers, &mut report);
        decompressed = walk.position();
        // A failed check comes before whatever the walk met later.
        checkers.finish().and(walked).and_then(|()| reading.missing()).err()
    });
    Ok(Outcome {
        compression,
        disks: reading.outcomes(),
        document: reading.document,
        checksums: reading.checksums,
        read: read.into_inner(),
        decompressed,
        failure,
    })
}

struct Reading<'a> {
    consumer: &'a dyn Consumer,
    document: Option<Document>,
    expected: Vec<Expected>,
    layout: Layout,
    checksums: BTreeSet<Checksum>,
    /// Those that the table at the end must list, if there is to be one.
    listed: Option<Checksums>,
}

impl<'a> Reading<'a> {
    fn new(consumer: &'a dyn Consumer) -> Self {
        Self {
            consumer,
            document: None,
            expected: Vec::new(),
            layout: Layout::new(&[]),
            checksums: BTreeSet::new(),
            listed: None,
        }
    }

    fn members(
        &mut self,
        walk: &mut Walk<'_>,
        checkers: &Checkers<'_>,
        report: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let mut waiting = None;
        loop {
            report()?;
            let entry = match waiting.take() {
                Some(entry) => Some(entry),
                None => walk.next()?,
            };
            let Some(entry) = entry else { break };
            if entry.kind == EntryKind::Directory {
                continue;
            }
            match Name::parse(&entry.name) {
                Name::Chunk { disk, number } if entry.kind == EntryKind::File && self.document.is_some() => {
                    let (job, next) = self.chunk(walk, &entry, disk, number)?;
                    waiting = next;
                    if !checkers.check(job) {
                        break;
                    }
                }
                _ => self.other(walk, &entry)?,
            }
        }
        if self.document.is_none() {
            return Err(corrupt("ova.xml", "the archive does not hold it"));
        }
        if !checkers.failed() && walk.has_garbage()? {
            self.harmless("the end of the archive", "something follows it")?;
        }
        Ok(())
    }

    /// A chunk and its checksum; where there is none, the member in its place is to be looked at next.
    fn chunk(&mut self, walk: &mut Walk<'_>, entry: &Entry, disk: &str, number: u64) -> Result<(Job, Option<Entry>)> {
        if entry.size > MOST_CHUNK {
            return Err(corrupt(&entry.name, format!("{} bytes are too many for a chunk", entry.size)));
        }
        let place = self.layout.place(disk, number, entry.size).map_err(|why| corrupt(&entry.name, why))?;
        let pieces = walk.take(entry.size)?;
        let next = walk.next()?;
        let mut job = Job { member: entry.name.clone(), place, pieces, checksum: None };
        let kind = match next.as_ref().map(|next| Name::parse(&next.name)) {
            Some(Name::Checksum { chunk, kind }) if chunk == entry.name => kind,
            _ => {
                self.layout.pass(&job.place);
                return Ok((job, next));
            }
        };
        let text = walk.take_all(MOST_CHECKSUM)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        self.checksums.insert(kind);
        if let Some(listed) = &mut self.listed {
            listed.add(&entry.name, &text);
        }
        job.checksum = Some((kind, text));
        self.layout.pass(&job.place);
        Ok((job, None))
    }

    fn other(&mut self, walk: &mut Walk<'_>, entry: &Entry) -> Result<()> {
        match (entry.name.as_str(), &self.document) {
            ("ova.xml", None) => self.begin(&walk.take_all(MOST_METADATA)?),
            ("ova.xml", Some(_)) => Err(corrupt("ova.xml", "it is there twice")),
            (table::NAME, Some(_)) if self.listed.is_some() => {
                let xml = walk.take_all(MOST_METADATA)?;
                self.listed.take().map_or(Ok(()), |listed| listed.compare(&xml))
            }
            (name, None) if Name::parse(name) != Name::Other => Err(corrupt(name, "it comes before ova.xml")),
            (name, Some(_)) if matches!(Name::parse(name), Name::Checksum { .. }) => self.without_chunk(name),
            (name, _) => self.harmless(name, "it does not belong to an appliance; XenServer would refuse the archive"),
        }
    }

    fn begin(&mut self, xml: &[u8]) -> Result<()> {
        let document = Document::parse(xml)?;
        self.expected = document.expected()?;
        self.layout = Layout::new(&self.expected);
        self.listed = (document.export_version() == 1).then(Checksums::default);
        self.consumer.begin(&document, &self.expected)?;
        self.document = Some(document);
        Ok(())
    }

    /// Reports the disks of which not all came by.
    fn missing(&self) -> Result<()> {
        for (index, disk) in self.expected.iter().enumerate() {
            let wanted = disk.required || self.layout.has_begun(index);
            if !wanted || self.layout.is_complete(index) {
                continue;
            }
            let why = format!("the disk ends after {} of {} bytes", self.layout.offset(index), disk.size);
            let error = corrupt(&disk.id, why);
            self.consumer.defect(Defect { severity: Severity::Damage, disk: Some(index), error })?;
        }
        Ok(())
    }

    /// Reports a checksum that follows no chunk of its name, for without that chunk there would be zeroes in its place.
    fn without_chunk(&self, name: &str) -> Result<()> {
        let id = name.rsplit_once('/').map_or("", |(id, _)| id);
        let disk = self.expected.iter().position(|disk| disk.id == id);
        let error = corrupt(name, "the chunk that it is the checksum of is not before it");
        self.consumer.defect(Defect { severity: Severity::Damage, disk, error })
    }

    fn harmless(&self, member: &str, why: &str) -> Result<()> {
        let error = corrupt(member, why);
        self.consumer.defect(Defect { severity: Severity::Harmless, disk: None, error })
    }

    fn outcomes(&self) -> Vec<DiskOutcome> {
        let outcome = |(index, expected): (usize, &Expected)| DiskOutcome {
            expected: expected.clone(),
            offset: self.layout.offset(index),
            begun: self.layout.has_begun(index),
        };
        self.expected.iter().enumerate().map(outcome).collect()
    }
}
