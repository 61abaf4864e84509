//! Describes an archive from its start.

use std::io::Read;
use std::sync::atomic::Ordering;
use std::thread;

use serde::Serialize;

use crate::Result;
use crate::appliance::Appliance;
use crate::chunk::{Checksum, Name};
use crate::codec::{self, Compression, Counters};
use crate::error::{corrupt, is_ovf, ova_package};
use crate::options::ReadOptions;
use crate::ova::{self, Document};
use crate::progress::{Progress, step};
use crate::tar::Walk;

/// The description of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Inspected {
    /// The VM.
    pub appliance: Appliance,
    /// The compression of the archive.
    pub compression: Compression,
    /// The checksum of its chunks; `None` if it contains no chunk.
    pub checksum: Option<Checksum>,
}

/// Describes an archive. Reads its metadata and the first chunk, at most a few MiB.
///
/// # Errors
/// It is not an archive, or its start is damaged, or it cannot be read; the operation was cancelled;
/// [`LimitExceeded`](crate::ErrorKind::LimitExceeded) if its window exceeds the limit in `options`.
pub fn inspect(input: impl Read + Send, options: &ReadOptions, progress: &dyn Progress) -> Result<Inspected> {
    let opened = codec::open(input)?;
    let compression = opened.compression;
    let counters = Counters::default();
    let (document, checksum) = thread::scope(|scope| {
        let mut walk = Walk::new(codec::decode(scope, opened, options.max_window, &counters));
        look(&mut walk, &mut || step(progress, counters.read.load(Ordering::Relaxed), None, "inspecting the archive"))
    })?;
    Ok(Inspected { appliance: Appliance::read(&document)?, compression, checksum })
}

fn look(walk: &mut Walk<'_>, report: &mut dyn FnMut() -> Result<()>) -> Result<(Document, Option<Checksum>)> {
    let mut document = None;
    while let Some(entry) = walk.next()? {
        report()?;
        match (Name::parse(&entry.name), document) {
            (Name::Other, None) if entry.name == "ova.xml" => {
                document = Some(Document::parse(&walk.take_all(ova::MAX_BYTES)?)?);
            }
            (Name::Checksum { kind, .. }, Some(document)) => return Ok((document, Some(kind))),
            (Name::Other, None) if is_ovf(&entry.name) => return Err(ova_package()),
            (Name::Other, known) => document = known,
            (_, None) => return Err(corrupt(&entry.name, "it comes before ova.xml")),
            (_, known) => document = known,
        }
    }
    document.map(|document| (document, None)).ok_or_else(|| corrupt("ova.xml", "the archive does not contain it"))
}
