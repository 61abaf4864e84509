//! Who takes what is read.

use crate::appliance::Appliance;
use crate::ova::ExpectedDisk;
use crate::{Error, Result};

/// Takes the disks of an archive that is read. An error of any method ends the reading, which fails with it.
pub trait DiskSink: Sync {
    /// Why the reading fails: an error of the sink's own, or one of this crate.
    type Error: From<Error> + Send;

    /// Hears what the appliance is, before any disk comes. Disks are then known by their place in `disks`.
    ///
    /// # Errors
    /// The disks cannot be taken.
    fn begin(&self, appliance: &Appliance, disks: &[ExpectedDisk]) -> Result<(), Self::Error>;

    /// Takes bytes of a disk, in order from `offset` on, whose checksum is right. Ranges that do not come hold zeroes.
    ///
    /// Several threads may call it at once, in any order.
    ///
    /// # Errors
    /// The bytes cannot be kept.
    fn write(&self, disk: usize, offset: u64, pieces: &[&[u8]]) -> Result<(), Self::Error>;

    /// Hears what is wrong, where reading can go on in spite of it. By default only what is harmless is accepted.
    ///
    /// # Errors
    /// Reading should not go on.
    fn defect(&self, defect: Defect) -> Result<(), Self::Error> {
        match defect.severity {
            Severity::Harmless => Ok(()),
            Severity::Unchecked | Severity::Damage => Err(defect.error.into()),
        }
    }
}

/// Something that is wrong with an archive.
#[derive(Debug)]
#[non_exhaustive]
pub struct Defect {
    /// How bad it is.
    pub severity: Severity,
    /// The disk whose contents are affected, by its place among those that were expected.
    pub disk: Option<usize>,
    /// What it is; it names the member of the archive.
    pub error: Error,
}

/// How bad a defect is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Severity {
    /// It is not as it should be, but nothing is lost.
    Harmless,
    /// Nothing says whether the contents are right: a checksum is missing.
    Unchecked,
    /// Contents are wrong or missing.
    Damage,
}
