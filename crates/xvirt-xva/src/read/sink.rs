//! The receiver of an archive's contents.

use std::ops::Range;

use serde::Serialize;

use crate::appliance::Appliance;
use crate::ova::ExpectedDisk;
use crate::{Error, Result};

/// Receives the disks of an archive. An error of any method ends reading with that error.
pub trait DiskSink: Sync {
    /// The error that ends reading: the sink's own, or one of this crate.
    type Error: From<Error> + Send;

    /// Receives the appliance before any disk. Later calls identify disks by their index in `disks`.
    ///
    /// # Errors
    /// The sink cannot receive the disks.
    fn begin(&self, appliance: &Appliance, disks: &[ExpectedDisk]) -> Result<(), Self::Error>;

    /// Receives bytes of a disk in order from `offset`, whose checksum is valid. Ranges that are never passed are
    /// zeroes.
    ///
    /// Several threads may call it at once, in any order.
    ///
    /// # Errors
    /// The bytes cannot be stored.
    fn write(&self, disk: usize, offset: u64, pieces: &[&[u8]]) -> Result<(), Self::Error>;

    /// Receives a defect that does not prevent reading. By default only harmless ones are accepted.
    ///
    /// # Errors
    /// Reading should stop.
    fn defect(&self, defect: Defect) -> Result<(), Self::Error> {
        match defect.severity {
            Severity::Harmless => Ok(()),
            Severity::Unchecked | Severity::Damage => Err(defect.error.into()),
        }
    }
}

/// A defect of an archive.
#[derive(Debug)]
#[non_exhaustive]
pub struct Defect {
    /// Its severity.
    pub severity: Severity,
    /// The affected disk, by its index among the expected disks.
    pub disk: Option<usize>,
    /// The bytes of the disk that are affected; all of them if that is not known.
    pub range: Option<Range<u64>>,
    /// What is wrong, so that defects of one kind can be counted.
    pub kind: DefectKind,
    /// A description that names the member of the archive.
    pub error: Error,
}

/// What is wrong. An archive can have many defects of one kind, one for each chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DefectKind {
    /// A chunk has another checksum.
    Checksum,
    /// A checksum is right, but not written as XenServer wants it.
    ChecksumForm,
    /// A chunk has no checksum.
    NoChecksum,
    /// A chunk has data beyond the end of its disk.
    Beyond,
    /// Something stands where a chunk belongs, and is none.
    Misfit,
    /// A checksum has no chunk.
    NoChunk,
    /// A disk begins with missing chunks, which are zeroes if nothing was lost.
    LateStart,
    /// A disk ends too early.
    Incomplete,
    /// A member does not belong to an appliance.
    Foreign,
    /// There is data after the end of the archive.
    AfterEnd,
}

/// The severity of a defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// A violation of the format without loss.
    Harmless,
    /// A checksum is missing, so the contents are unverified.
    Unchecked,
    /// Contents are wrong or missing.
    Damage,
}
