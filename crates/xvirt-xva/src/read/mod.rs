//! Reads an archive sequentially with all CPUs.
//!
//! One thread decompresses (see `codec`), the caller's thread walks through the members, and several threads check the
//! chunks and pass valid ones to a [`DiskSink`], which may write them at once. Only a few chunks are in memory at any
//! time.

mod check;
mod salvage;
mod sink;
mod start;
mod strict;
mod table;

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::atomic::Ordering;
use std::thread;

use check::{Checkers, Job};
use strict::Strict;
use table::Checksums;

pub use salvage::{Salvaged, SalvagedDisk, salvage};
pub use sink::{Defect, DefectKind, DiskSink, Severity};
pub(crate) use start::may_precede_metadata;

use crate::appliance::Appliance;
use crate::chunk::{Checksum, Layout, MAX_CHUNK, Misfit, Name, Role};
use crate::codec::{self, Compression, Counters};
use crate::error::{corrupt, unsupported, without_chunk, without_contents};
use crate::options::ReadOptions;
use crate::ova::{self, Document, ExpectedDisk};
use crate::progress::{Progress, step};
use crate::tar::{Entry, EntryKind, Walk};
use crate::{ErrorKind, Result};

/// The size limit of a checksum in bytes.
const MAX_CHECKSUM: u64 = 128;

/// The summary of a complete archive.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// The VM.
    pub appliance: Appliance,
    /// The complete `ova.xml`.
    pub document: Document,
    /// The compression of the archive.
    pub compression: Compression,
    /// The checksums of its chunks.
    pub checksums: Vec<Checksum>,
    /// Size of the archive in bytes.
    pub size: u64,
    /// Its size in bytes without compression.
    pub decompressed: u64,
}

/// Reads an archive in one pass, and passes the contents of its disks to `sink`.
///
/// Each chunk is checked before it is passed on. This takes no more memory than [any other way to read
/// it](crate#memory).
///
/// # Errors
/// [`Unsupported`](crate::ErrorKind::Unsupported) if it is not an archive; [`Corrupt`](crate::ErrorKind::Corrupt) if it
/// is damaged or incomplete, and the message names the member; [`LimitExceeded`](crate::ErrorKind::LimitExceeded) if
/// its window exceeds the limit in `options`; it cannot be read; the operation was cancelled; or an error of `sink`.
/// The contents passed to the sink so far are incomplete.
///
/// # Examples
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::Mutex;
/// use xvirt_xva::{Appliance, DiskSink, ExpectedDisk, ReadOptions};
///
/// /// Adds up how much data each disk has.
/// struct Count(Mutex<BTreeMap<usize, u64>>);
///
/// impl DiskSink for Count {
///     type Error = xvirt_xva::Error;
///
///     fn begin(&self, appliance: &Appliance, disks: &[ExpectedDisk]) -> xvirt_xva::Result<()> {
///         println!("{} has {} disks", appliance.name, disks.len());
///         Ok(())
///     }
///
///     fn write(&self, disk: usize, _offset: u64, pieces: &[&[u8]]) -> xvirt_xva::Result<()> {
///         let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
///         *self.0.lock().expect("no thread panics").entry(disk).or_default() += bytes as u64;
///         Ok(())
///     }
/// }
///
/// # let mut document = xvirt_xva::ova::Document::new_vm("web");
/// # document.complete()?;
/// # let mut archive = Vec::new();
/// # xvirt_xva::write(&mut archive, &document, &[], &xvirt_xva::WriteOptions::zstd(), &())?;
/// # let archive = &archive[..]; // any reader: a file, a pipe, a socket
/// let count = Count(Mutex::default());
/// let summary = xvirt_xva::read(archive, &ReadOptions::default(), &count, &())?;
/// assert_eq!(summary.appliance.name, "web");
/// # Ok::<(), xvirt_xva::Error>(())
/// ```
pub fn read<E: From<crate::Error> + Send>(
    input: impl Read + Send,
    options: &ReadOptions,
    sink: &dyn DiskSink<Error = E>,
    progress: &dyn Progress,
) -> Result<Summary, E> {
    let outcome = as_far_as_possible(input, options, sink, progress)?;
    if let Some(failure) = outcome.failure {
        return Err(failure);
    }
    let (document, appliance) = outcome.metadata.ok_or_else(no_metadata)?;
    Ok(Summary {
        appliance,
        document,
        compression: outcome.compression,
        checksums: outcome.checksums.into_iter().collect(),
        size: outcome.read,
        decompressed: outcome.decompressed,
    })
}

/// How far an archive could be read.
#[derive(Debug)]
pub(crate) struct Outcome<E> {
    pub(crate) compression: Compression,
    pub(crate) metadata: Option<(Document, Appliance)>,
    pub(crate) disks: Vec<DiskOutcome>,
    pub(crate) checksums: BTreeSet<Checksum>,
    /// The bytes read from the archive, compressed and decompressed.
    pub(crate) read: u64,
    pub(crate) decompressed: u64,
    /// What keeps XenServer from importing it, besides defects, one line for each kind.
    pub(crate) obstacles: Vec<String>,
    /// The error that ended reading early.
    pub(crate) failure: Option<E>,
}

/// How far a disk was read.
#[derive(Debug)]
pub(crate) struct DiskOutcome {
    pub(crate) expected: ExpectedDisk,
    /// The end of its data read, in bytes.
    pub(crate) offset: u64,
    pub(crate) begun: bool,
}

/// Reads an archive as far as possible. Only an input that is not an archive is an error; other failures are in the
/// outcome.
pub(crate) fn as_far_as_possible<E: From<crate::Error> + Send>(
    input: impl Read + Send,
    options: &ReadOptions,
    sink: &dyn DiskSink<Error = E>,
    progress: &dyn Progress,
) -> Result<Outcome<E>> {
    let opened = codec::open(input)?;
    let compression = opened.compression;
    let counters = Counters::default();
    let mut reading = Reading::new(sink);
    let mut decompressed = 0;
    let failure = thread::scope(|scope| {
        let checkers = Checkers::spawn(scope, sink);
        let mut walk = Walk::new(codec::decode(scope, opened, options.max_window, &counters));
        let mut report = || step(progress, counters.read.load(Ordering::Relaxed), None, "reading the archive");
        let walked = reading.members(&mut walk, &checkers, &mut report);
        decompressed = walk.position();
        // A failed check precedes any later failure of the walk.
        checkers.finish().and(walked).and_then(|()| reading.missing()).err()
    });
    let obstacles = reading.obstacles(counters.window.load(Ordering::Relaxed));
    Ok(Outcome {
        compression,
        disks: reading.outcomes(),
        metadata: reading.metadata,
        checksums: reading.checksums,
        read: counters.read.into_inner(),
        obstacles,
        decompressed,
        failure,
    })
}

fn is_file(entry: Option<&Entry>) -> bool {
    entry.is_some_and(|entry| entry.kind == EntryKind::File)
}

pub(crate) fn no_metadata() -> crate::Error {
    unsupported(
        "this is not a virtual appliance (XVA): it is a tar archive without ova.xml",
        "check that it is the right file",
    )
}

struct Reading<'a, E> {
    sink: &'a dyn DiskSink<Error = E>,
    metadata: Option<(Document, Appliance)>,
    expected: Vec<ExpectedDisk>,
    layout: Layout,
    checksums: BTreeSet<Checksum>,
    /// The checksums that the table at the end must list, if there is one.
    listed: Option<Checksums>,
    strict: Strict,
}

impl<'a, E: From<crate::Error> + Send> Reading<'a, E> {
    fn new(sink: &'a dyn DiskSink<Error = E>) -> Self {
        Self {
            sink,
            metadata: None,
            expected: Vec::new(),
            layout: Layout::new(&[]),
            checksums: BTreeSet::new(),
            listed: None,
            strict: Strict::default(),
        }
    }

    fn members(
        &mut self,
        walk: &mut Walk<'_>,
        checkers: &Checkers<'_, E>,
        report: &mut dyn FnMut() -> Result<()>,
    ) -> Result<(), E> {
        let mut waiting = None;
        loop {
            report()?;
            let entry = match waiting.take() {
                Some(entry) => Some(entry),
                None => walk.next()?,
            };
            let Some(entry) = entry else { break };
            if self.metadata.is_none() && entry.name != "ova.xml" {
                may_precede_metadata(&entry)?;
            }
            let role = Role::of(&entry, &self.expected);
            self.strict.member(&entry, &role, &self.expected);
            match role {
                Role::Other if entry.kind == EntryKind::Directory => {}
                Role::Other => self.other(walk, &entry)?,
                Role::Chunk { disk, number } => {
                    let (job, next) = self.chunk(walk, &entry, disk, number)?;
                    waiting = next;
                    if !checkers.check(job) {
                        break;
                    }
                }
                Role::Checksum => self.without_chunk(&entry.name)?,
                Role::Misfit(misfit) => self.misfit(misfit)?,
            }
        }
        if self.metadata.is_none() {
            return Err(no_metadata().into());
        }
        if !checkers.failed() && walk.has_garbage()? {
            self.harmless(DefectKind::AfterEnd, "the end of the archive", "there is data after it")?;
        }
        Ok(())
    }

    /// Reads a chunk and its checksum; if there is no checksum, also returns the member in its place.
    fn chunk(
        &mut self,
        walk: &mut Walk<'_>,
        entry: &Entry,
        disk: &str,
        number: u64,
    ) -> Result<(Job, Option<Entry>), E> {
        if entry.size > MAX_CHUNK {
            return Err(corrupt(&entry.name, format!("{} bytes are too many for a chunk", entry.size)).into());
        }
        let place = self.layout.place(disk, number, entry.size).map_err(|why| why.error(&entry.name))?;
        if place.late {
            let why = "its disk begins with it: the chunks before it are missing, which are zeroes if nothing was lost";
            self.harmless(DefectKind::LateStart, &entry.name, why)?;
        }
        let pieces = walk.take(entry.size)?;
        let next = walk.next()?;
        self.strict.after_chunk(entry, next.as_ref());
        let mut job = Job { member: entry.name.clone(), place, pieces, checksum: None };
        let kind = match next.as_ref().map(|next| Name::parse(&next.name)) {
            Some(Name::Checksum { chunk, kind }) if chunk == entry.name && is_file(next.as_ref()) => kind,
            _ => {
                self.layout.pass(&job.place);
                return Ok((job, next));
            }
        };
        let text = walk.take_all(MAX_CHECKSUM)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        self.checksums.insert(kind);
        if let Some(listed) = &mut self.listed {
            listed.add(&entry.name, &text);
        }
        job.checksum = Some((kind, text));
        self.layout.pass(&job.place);
        Ok((job, None))
    }

    fn other(&mut self, walk: &mut Walk<'_>, entry: &Entry) -> Result<(), E> {
        match (entry.name.as_str(), &self.metadata) {
            ("ova.xml" | table::NAME, _) if entry.kind != EntryKind::File => {
                Err(corrupt(&entry.name, "it is not a plain file").into())
            }
            ("ova.xml", None) => self.begin(&walk.take_all(ova::MAX_BYTES)?),
            ("ova.xml", Some(_)) => Err(corrupt("ova.xml", "it occurs twice").into()),
            (table::NAME, Some(_)) if self.listed.is_some() => {
                let xml = walk.take_all(ova::MAX_BYTES)?;
                Ok(self.listed.take().map_or(Ok(()), |listed| listed.compare(&xml))?)
            }
            (name, _) => self.harmless(
                DefectKind::Foreign,
                name,
                "it does not belong to an appliance; XenServer would refuse the archive",
            ),
        }
    }

    fn begin(&mut self, xml: &[u8]) -> Result<(), E> {
        let document = Document::parse(xml)?;
        let appliance = Appliance::read(&document)?;
        self.expected = document.expected()?;
        self.layout = Layout::new(&self.expected);
        self.listed = (document.export_version() == 1).then(Checksums::default);
        self.sink.begin(&appliance, &self.expected)?;
        self.metadata = Some((document, appliance));
        Ok(())
    }

    /// Reports incomplete disks.
    fn missing(&self) -> Result<(), E> {
        for (index, disk) in self.expected.iter().enumerate() {
            let wanted = disk.required || self.layout.has_begun(index);
            if !wanted || self.layout.is_complete(index) {
                continue;
            }
            let reached = self.layout.offset(index);
            let error = match (0..self.expected.len()).any(|index| self.layout.has_begun(index)) {
                true => corrupt(&disk.id, format!("the disk ends after {reached} of {} bytes", disk.size)),
                false => without_contents(&disk.id),
            };
            let range = Some(reached..disk.size);
            self.sink.defect(Defect {
                severity: Severity::Damage,
                disk: Some(index),
                range,
                kind: DefectKind::Incomplete,
                error,
            })?;
        }
        Ok(())
    }

    /// Reports a checksum that does not follow its chunk, because the missing chunk would read as zeroes.
    fn without_chunk(&self, name: &str) -> Result<(), E> {
        let chunk = match Name::parse(name) {
            Name::Checksum { chunk, .. } => Name::parse(chunk),
            other => other,
        };
        let (disk, range) = match chunk {
            Name::Chunk { disk, number } => {
                let disk = self.expected.iter().position(|other| other.id == disk);
                (disk, disk.and_then(|disk| self.layout.missed(disk, number)))
            }
            _ => (None, None),
        };
        self.sink.defect(Defect {
            severity: Severity::Damage,
            disk,
            range,
            kind: DefectKind::NoChunk,
            error: without_chunk(name),
        })
    }

    fn misfit(&self, misfit: Misfit) -> Result<(), E> {
        let Misfit { disk, number, error } = misfit;
        let range = disk.zip(number).and_then(|(disk, number)| self.layout.missed(disk, number));
        self.sink.defect(Defect { severity: Severity::Damage, disk, range, kind: DefectKind::Misfit, error })
    }

    fn harmless(&self, kind: DefectKind, member: &str, why: &str) -> Result<(), E> {
        let error = crate::Error::new(ErrorKind::Corrupt, format!("archive member {member}: {why}"));
        self.sink.defect(Defect { severity: Severity::Harmless, disk: None, range: None, kind, error })
    }

    fn obstacles(&mut self, window: u64) -> Vec<String> {
        let mut found = self.metadata.as_ref().map(|(document, _)| document.obstacles()).unwrap_or_default();
        found.extend(std::mem::take(&mut self.strict).lines(window));
        let table = self.listed.is_some().then_some("it is of export version 1, and its table of checksums is missing");
        found.extend(table.map(str::to_owned));
        found
    }

    fn outcomes(&self) -> Vec<DiskOutcome> {
        let outcome = |(index, expected): (usize, &ExpectedDisk)| DiskOutcome {
            expected: expected.clone(),
            offset: self.layout.offset(index),
            begun: self.layout.has_begun(index),
        };
        self.expected.iter().enumerate().map(outcome).collect()
    }
}
