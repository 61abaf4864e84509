//! Describes an archive from its start.

use std::io::Read;
use std::sync::atomic::Ordering;
use std::thread;

use serde::Serialize;

use crate::Result;
use crate::appliance::Appliance;
use crate::chunk::{Checksum, Name};
use crate::codec::{self, Compression, Counters};
use crate::options::ReadOptions;
use crate::ova::{self, Document};
use crate::progress::{Progress, step};
use crate::read::{may_precede_metadata, no_metadata};
use crate::tar::Walk;

/// The description of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Inspected {
    /// The VM.
    pub appliance: Appliance,
    /// The compression of the archive.
    pub compression: Compression,
    /// The checksum of its chunks, as the first one has it.
    pub checksum: Option<Checksum>,
    /// Whether it has contents of disks. An export of metadata has none.
    pub has_contents: bool,
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
    let start = thread::scope(|scope| {
        let mut walk = Walk::new(codec::decode(scope, opened, options.max_window, &counters));
        look(&mut walk, &mut || step(progress, counters.read.load(Ordering::Relaxed), None, "inspecting the archive"))
    })?;
    let Start { document, has_contents, checksum } = start;
    Ok(Inspected { appliance: Appliance::read(&document)?, compression, checksum, has_contents })
}

/// The start of an archive.
struct Start {
    document: Document,
    has_contents: bool,
    checksum: Option<Checksum>,
}

fn look(walk: &mut Walk<'_>, report: &mut dyn FnMut() -> Result<()>) -> Result<Start> {
    let document = loop {
        let entry = walk.next()?.ok_or_else(no_metadata)?;
        report()?;
        if entry.name == "ova.xml" {
            break Document::parse(&walk.take_all(ova::MAX_BYTES)?)?;
        }
        may_precede_metadata(&entry)?;
    };
    let mut has_contents = false;
    while let Some(entry) = walk.next()? {
        report()?;
        match Name::parse(&entry.name) {
            Name::Checksum { kind, .. } => return Ok(Start { document, has_contents: true, checksum: Some(kind) }),
            // Its checksum would come next, and whatever follows is long.
            _ if has_contents => break,
            Name::Chunk { .. } => has_contents = true,
            Name::Other => {}
        }
    }
    Ok(Start { document, has_contents, checksum: None })
}
