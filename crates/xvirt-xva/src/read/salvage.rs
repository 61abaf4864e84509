//! Reads what can be read of a damaged archive.

use std::io::Read;

use super::{DiskSink, as_far_as_possible, no_metadata};
use crate::appliance::Appliance;
use crate::options::ReadOptions;
use crate::ova::{Document, ExpectedDisk};
use crate::progress::Progress;

/// What could be read of an archive.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Salvaged<E> {
    /// The VM.
    pub appliance: Appliance,
    /// The complete `ova.xml`.
    pub document: Document,
    /// How far each disk was read, in the order in which the sink received them.
    pub disks: Vec<SalvagedDisk>,
    /// The error that ended reading early: of the archive, or of the sink.
    pub failure: Option<E>,
}

/// How far a disk was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SalvagedDisk {
    /// The disk.
    pub expected: ExpectedDisk,
    /// The end of its data read, in bytes.
    pub reached: u64,
    /// Whether any of it was read.
    pub begun: bool,
}

/// Reads an archive like [`read`](super::read()), as far as it can be read.
///
/// A sink that accepts [defects](DiskSink::defect) receives everything that is not damaged, and is told which ranges
/// are. What lies behind the place at which reading [failed](Salvaged::failure) is lost.
///
/// # Errors
/// It is not an archive, or its `ova.xml` cannot be read.
pub fn salvage<E: From<crate::Error> + Send>(
    input: impl Read + Send,
    options: &ReadOptions,
    sink: &dyn DiskSink<Error = E>,
    progress: &dyn Progress,
) -> Result<Salvaged<E>, E> {
    let outcome = as_far_as_possible(input, options, sink, progress)?;
    let Some((document, appliance)) = outcome.metadata else {
        return Err(outcome.failure.unwrap_or_else(|| no_metadata().into()));
    };
    let disks = outcome.disks.into_iter().map(|disk| SalvagedDisk {
        expected: disk.expected,
        reached: disk.offset,
        begun: disk.begun,
    });
    Ok(Salvaged { appliance, document, disks: disks.collect(), failure: outcome.failure })
}
