//! An archive as a place to read from, in any order: its disks, without importing it.
//!
//! `chunks` says where each chunk is: in a zstd archive of ours by its seek table and index, in one without compression
//! by its tar headers. `disk` reads and checks them.

mod chunks;
mod disk;

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::ArchiveDisk;

use super::appliance::Appliance;
use super::error::corrupt;
use super::ova::Document;
use crate::Result;
use crate::disk::BlockBackend;
use crate::named_file::open_file;

/// An archive whose disks can be read in any order.
///
/// That needs an archive in a file, not compressed or written by [`export`](super::export) with zstd. May be used from
/// several threads. The file must not change meanwhile.
pub struct Archive {
    appliance: Appliance,
    document: Document,
    disks: Vec<Arc<ArchiveDisk>>,
}

/// What disks share: the file, and its name for messages.
#[derive(Debug)]
struct Source {
    file: File,
    path: PathBuf,
}

impl Archive {
    /// Opens an archive and finds its chunks, of which none is read yet.
    ///
    /// # Errors
    /// [`UnsupportedArchive`](crate::ErrorKind::UnsupportedArchive) if it can only be read from its beginning to its end;
    /// or it is damaged, or cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let source = Arc::new(Source { file: open_file(path, "archive")?, path: path.to_owned() });
        let (document, mut map) = chunks::find(&source)?;
        let appliance = Appliance::read(&document)?;
        let mut disks = Vec::new();
        for disk in &appliance.disks {
            let chunks = map.remove(&disk.id).unwrap_or_default();
            if disk.size > 0 && chunks.last().is_none_or(|last| last.offset + last.length < disk.size) {
                return Err(corrupt(
                    &disk.id,
                    format!("the archive does not hold all {} bytes of the disk", disk.size),
                ));
            }
            disks.push(Arc::new(ArchiveDisk::new(Arc::clone(&source), disk.id.clone(), disk.size, chunks)));
        }
        Ok(Self { appliance, document, disks })
    }

    /// The VM in it.
    pub fn appliance(&self) -> &Appliance {
        &self.appliance
    }

    /// Its disks, in the order of the appliance. They are read-only; each chunk is checked when it is read, and damage is
    /// an I/O error that names the member.
    pub fn disks(&self) -> Vec<Arc<dyn BlockBackend>> {
        self.disks.iter().map(|disk| Arc::clone(disk) as _).collect()
    }

    pub(super) fn document(&self) -> &Document {
        &self.document
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("appliance", &self.appliance.name).finish_non_exhaustive()
    }
}
