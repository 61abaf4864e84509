//! Writing a VM into an archive.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::chunk::Checksum;
use super::codec::Compression;
use super::error::unsupported;
use super::import::METADATA;
use super::ova::{Document, compose};
use super::write::{self, Source};
use crate::Result;
use crate::config::{Boot, VmConfig};
use crate::disk::{BlockBackend, PointInTime};
use crate::progress::Progress;
use crate::repository::StoredVm;
use crate::vm::{Vm, open_disks_read_only};

/// The longest id that the names of members have room for, in bytes.
const MOST_ID: usize = 80;

/// How an archive is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Export {
    /// How it is compressed.
    pub compression: Compression,
    /// How hard it is compressed: 1 to 9 for gzip, 1 to 19 for zstd.
    pub level: i32,
    /// How its chunks are protected.
    pub checksum: Checksum,
}

impl Default for Export {
    fn default() -> Self {
        Self::zstd()
    }
}

impl Export {
    /// Without compression: the fastest where disks and networks are.
    pub fn none() -> Self {
        Self { compression: Compression::None, level: 0, checksum: Checksum::Xxhash }
    }

    /// Compressed with gzip, for hosts that read nothing else.
    pub fn gzip() -> Self {
        Self { compression: Compression::Gzip, level: 6, checksum: Checksum::Xxhash }
    }

    /// Compressed with zstd, so that a VM can start from the archive.
    pub fn zstd() -> Self {
        Self { compression: Compression::Zstd, level: 3, checksum: Checksum::Xxhash }
    }

    /// Compressed in one of these ways.
    pub fn with(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::none(),
            Compression::Gzip => Self::gzip(),
            Compression::Zstd => Self::zstd(),
        }
    }

    /// Sets how hard the archive is compressed.
    #[must_use]
    pub fn level(mut self, level: i32) -> Self {
        self.level = level;
        self
    }

    /// Sets how chunks are protected: hosts before 8.1 need SHA-1.
    #[must_use]
    pub fn checksum(mut self, checksum: Checksum) -> Self {
        self.checksum = checksum;
        self
    }

    fn check(&self) -> Result<()> {
        let most = match self.compression {
            Compression::None => return Ok(()),
            Compression::Gzip => 9,
            Compression::Zstd => 19,
        };
        if (1..=most).contains(&self.level) {
            return Ok(());
        }
        let what = format!("{} has no level {}", self.compression, self.level);
        Err(crate::Error::new(crate::ErrorKind::InvalidConfig, what).remedy(format!("choose one between 1 and {most}")))
    }
}

/// What became of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// Size of the archive in bytes.
    pub size: u64,
    /// What of the VM an appliance cannot say.
    pub remarks: Vec<String>,
}

/// Writes a VM that does not run, described by `config`, into an archive that XenServer and XCP-ng import.
///
/// The disks are locked for reading meanwhile; where they have holes they are not read. `output` gets the archive in one
/// pass, in a few large writes for each megabyte. Sizes of disks are rounded up to whole MiB, with zeroes.
///
/// # Errors
/// A disk cannot be opened or read, or is in use; `output` cannot be written; the work was cancelled. What `output` has
/// got by then is no archive.
pub fn export(config: &VmConfig, output: impl Write, options: &Export, progress: &dyn Progress) -> Result<Exported> {
    let disks = open_disks_read_only(&config.disks)?.into_iter().map(Opened::from).collect();
    export_disks(config, disks, None, output, options, progress)
}

/// Writes a VM of a repository that does not run into an archive, as [`export`] does. What an imported VM came with and
/// has no meaning here goes into the archive again.
///
/// # Errors
/// As [`export`]; or the VM's metadata is damaged.
pub fn export_stored(vm: &StoredVm, output: impl Write, options: &Export, progress: &dyn Progress) -> Result<Exported> {
    let config = vm.config();
    let disks = open_disks_read_only(&config.disks)?.into_iter().map(Opened::from).collect();
    export_disks(&config, disks, vm.attachment(METADATA)?.as_deref(), output, options, progress)
}

/// Writes a VM into an archive while it runs, as [`export`] does: its disks as they are at one moment at the beginning.
///
/// The guest goes on writing, and the archive does not change. What it overwrites meanwhile is kept in files without a
/// name in the folder `scratch`, which need at most as much room as the guest changes. The guest finds its file systems
/// in the archive as after a power failure. `stored` is the VM in a repository it runs from, if there is one: see
/// [`export_stored`].
///
/// # Errors
/// As [`export`]; or `scratch` cannot hold what the guest overwrites: then the export fails and the guest goes on.
pub fn export_running(
    vm: &Vm,
    stored: Option<&StoredVm>,
    scratch: impl AsRef<Path>,
    output: impl Write,
    options: &Export,
    progress: &dyn Progress,
) -> Result<Exported> {
    let metadata = stored.map(|stored| stored.attachment(METADATA)).transpose()?.flatten();
    let (config, disks) = vm.config_in_time(scratch.as_ref())?;
    let disks = disks.into_iter().map(Opened::from).collect();
    export_disks(&config, disks, metadata.as_deref(), output, options, progress)
}

/// A disk to be exported.
struct Opened {
    disk: Arc<dyn BlockBackend>,
    /// Hears up to where it will not be read any more.
    passed: Box<dyn Fn(u64) + Send + Sync>,
}

impl From<Arc<dyn BlockBackend>> for Opened {
    fn from(disk: Arc<dyn BlockBackend>) -> Self {
        Self { disk, passed: Box::new(|_| {}) }
    }
}

impl From<Arc<PointInTime>> for Opened {
    /// What was exported need not be kept while the guest overwrites it.
    fn from(view: Arc<PointInTime>) -> Self {
        let disk = Arc::clone(&view);
        Self { disk, passed: Box::new(move |end| view.release(end)) }
    }
}

/// Writes a VM whose disks are open. `original` is the `ova.xml` it once came with, of which everything is kept that the
/// configuration does not say.
fn export_disks(
    config: &VmConfig,
    disks: Vec<Opened>,
    original: Option<&[u8]>,
    mut output: impl Write,
    options: &Export,
    progress: &dyn Progress,
) -> Result<Exported> {
    options.check()?;
    let capacities: Vec<_> = disks.iter().map(|opened| opened.disk.capacity()).collect();
    let original = original.map(Document::parse).transpose()?;
    let (document, slots) = compose(config, &capacities, original)?;
    let mut sources = Vec::new();
    for (slot, opened) in slots.into_iter().zip(disks) {
        if slot.id.len() > MOST_ID {
            return Err(unsupported(
                format!("the id {} of a disk is too long", slot.id),
                "import the appliance anew and export that",
            ));
        }
        sources.push(Source { id: slot.id, size: slot.size, disk: opened.disk, passed: opened.passed });
    }
    let size = write::write(&mut output, &document, sources, options, progress)?;
    Ok(Exported { size, remarks: remarks(config) })
}

fn remarks(config: &VmConfig) -> Vec<String> {
    let mut remarks = Vec::new();
    if matches!(config.boot, Boot::Kernel { .. }) {
        remarks
            .push("the VM starts a kernel of the host, which is not in the archive: it will boot from its disk".into());
    }
    if !config.cpus.mask.is_empty() {
        remarks.push("the CPU features that the VM does not see are not in the archive".into());
    }
    remarks
}
