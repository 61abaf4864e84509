//! Random access to the disks of an archive, without importing it.
//!
//! `chunks` locates the chunks: in a zstd archive of this crate by its seek table and index, in an uncompressed one by
//! its tar headers. `disk` reads and checks them.

mod chunks;
mod disk;

use std::fmt;
use std::sync::Arc;

pub use disk::ArchiveDisk;

use crate::Result;
use crate::appliance::Appliance;
use crate::error::corrupt;
use crate::input::ReadAt;
use crate::ova::Document;

/// An archive with random access to its disks.
///
/// The archive must be uncompressed, or written by [`write`](crate::write()) with zstd. Several threads may use it.
pub struct Archive {
    appliance: Appliance,
    document: Document,
    disks: Vec<Arc<ArchiveDisk>>,
}

/// State that its disks share: the archive's bytes, and its name for messages.
struct Source {
    input: Box<dyn ReadAt>,
    name: String,
}

impl Archive {
    /// Opens an archive and locates its chunks without reading them. `name` is its name in errors, such as its path.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) if it can only be read sequentially; or it is damaged, or cannot
    /// be read.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::fs::File;
    ///
    /// let archive = xvirt_xva::Archive::open(File::open("web.xva")?, "web.xva")?;
    /// let mut boot_sector = [0; 512];
    /// archive.disks()[0].read_at(&mut boot_sector, 0)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(input: impl ReadAt + 'static, name: impl Into<String>) -> Result<Self> {
        let source = Arc::new(Source { input: Box::new(input), name: name.into() });
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

    /// The complete `ova.xml`.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Its disks, in the order of the appliance.
    pub fn disks(&self) -> &[Arc<ArchiveDisk>] {
        &self.disks
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("appliance", &self.appliance.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}
