//! Verifies an archive without importing it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::appliance::Appliance;
use crate::chunk::Checksum;
use crate::codec::Compression;
use crate::options::ReadOptions;
use crate::ova::ExpectedDisk;
use crate::progress::Progress;
use crate::read::{Defect, DefectKind, DiskOutcome, DiskSink, Severity, as_far_as_possible};
use crate::thread::lock;
use crate::{Error, ErrorKind, Result};

/// The result of verifying an archive.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Its VM, if `ova.xml` could be read.
    pub appliance: Option<Appliance>,
    /// Its compression.
    pub compression: Compression,
    /// The checksums of its chunks.
    pub checksums: Vec<Checksum>,
    /// Its disks, in the expected order.
    pub disks: Vec<DiskReport>,
    /// The size of the archive in bytes, as far as it was read.
    pub size: u64,
    /// Its size in bytes without compression.
    pub decompressed: u64,
    /// Whether the archive is complete and valid.
    pub good: bool,
    /// The problems, serious ones first, one for each kind.
    pub problems: Vec<ArchiveProblem>,
    /// What keeps XenServer and XCP-ng from importing the archive, one line for each kind; empty if they can.
    pub obstacles: Vec<String>,
}

/// The result for one disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DiskReport {
    /// Its folder in the archive.
    pub id: String,
    /// Its size in bytes.
    pub size: u64,
    /// The end of its data read, in bytes.
    pub reached: u64,
    /// Whether the disk is complete and valid.
    pub whole: bool,
}

/// A problem of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ArchiveProblem {
    /// Whether contents are damaged, missing or unverified; otherwise XenServer would complain, but nothing is lost.
    pub serious: bool,
    /// A description that names the member of the archive.
    pub what: String,
}

/// Reads an archive and checks everything: compression, tar headers, `ova.xml`, and the positions and checksums of all
/// chunks. Takes one pass, and no more memory than [any other way to read it](crate#memory).
///
/// # Errors
/// It is not an archive, or cannot be read; the operation was cancelled;
/// [`LimitExceeded`](crate::ErrorKind::LimitExceeded) if its window exceeds the limit in `options`. The report contains
/// the defects of the archive.
pub fn verify(input: impl Read + Send, options: &ReadOptions, progress: &dyn Progress) -> Result<Report> {
    let verifier = Verifier::default();
    let outcome = as_far_as_possible(input, options, &verifier, progress)?;
    let mut found = verifier.found.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = outcome.failure {
        let is_archive = error.kind() == ErrorKind::Corrupt
            || (error.kind() == ErrorKind::Unsupported && outcome.metadata.is_some());
        if !is_archive {
            return Err(error);
        }
        found.failure = Some(error.to_string());
    }
    let mut obstacles = outcome.obstacles;
    let Found { kinds, failure, mut damaged } = found;
    let failure = failure.map(|what| ArchiveProblem { serious: true, what });
    let (mut serious, mut harmless) = (Vec::new(), Vec::new());
    for ((is_serious, kind), (first, count)) in kinds {
        let what = of_kind(&first, count);
        // XenServer reads no further than it has to, and takes a missing chunk for zeroes.
        if !matches!(kind, DefectKind::AfterEnd | DefectKind::LateStart) {
            obstacles.push(what.clone());
        }
        if is_serious { &mut serious } else { &mut harmless }.push(ArchiveProblem { serious: is_serious, what });
    }
    obstacles.extend(failure.iter().map(|failure| failure.what.clone()));
    serious.extend(failure);
    let disk = |(index, disk): (usize, DiskOutcome)| DiskReport {
        whole: disk.offset == disk.expected.size && !damaged.remove(&index),
        reached: disk.offset,
        id: disk.expected.id,
        size: disk.expected.size,
    };
    let wanted = outcome.disks.into_iter().enumerate().filter(|(_, disk)| disk.expected.required || disk.begun);
    Ok(Report {
        appliance: outcome.metadata.map(|(_, appliance)| appliance),
        compression: outcome.compression,
        checksums: outcome.checksums.into_iter().collect(),
        disks: wanted.map(disk).collect(),
        size: outcome.read,
        decompressed: outcome.decompressed,
        good: serious.is_empty(),
        problems: serious.into_iter().chain(harmless).collect(),
        obstacles,
    })
}

/// One line for all defects of a kind, of which this is the first.
fn of_kind(first: &Error, count: u64) -> String {
    let what = first.message();
    let remedy = first.remedy().map_or_else(String::new, |remedy| format!("; {remedy}"));
    match count {
        1 => first.to_string(),
        count => format!("{what} (and {} more of this kind){remedy}", count - 1),
    }
}

/// A sink that records defects and discards data.
#[derive(Default)]
struct Verifier {
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    /// By whether they are serious, and by kind: the first, and their number.
    kinds: BTreeMap<(bool, DefectKind), (Error, u64)>,
    failure: Option<String>,
    /// The disks with serious problems.
    damaged: BTreeSet<usize>,
}

impl DiskSink for Verifier {
    type Error = Error;

    fn begin(&self, _: &Appliance, _: &[ExpectedDisk]) -> Result<()> {
        Ok(())
    }

    fn write(&self, _: usize, _: u64, _: &[&[u8]]) -> Result<()> {
        Ok(())
    }

    fn defect(&self, defect: Defect) -> Result<()> {
        let mut found = lock(&self.found);
        let serious = defect.severity != Severity::Harmless;
        if let (true, Some(disk)) = (serious, defect.disk) {
            found.damaged.insert(disk);
        }
        found.kinds.entry((serious, defect.kind)).or_insert((defect.error, 0)).1 += 1;
        Ok(())
    }
}
