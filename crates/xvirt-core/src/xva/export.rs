//! Writing a VM into an archive.

use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use xvirt_xva::ova::Document;
use xvirt_xva::{DiskContents, DiskSource, ReadAt, WriteOptions};

use super::compose::compose;
use super::import::METADATA;
use crate::Result;
use crate::config::{Boot, VmConfig};
use crate::disk::{BlockBackend, SnapshotView, read_bytes};
use crate::progress::Progress;
use crate::repository::StoredVm;
use crate::vm::{Vm, open_disks_read_only};

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
pub fn export(
    config: &VmConfig,
    output: impl Write,
    options: &WriteOptions,
    progress: &dyn Progress,
) -> Result<Exported> {
    let disks = open_disks_read_only(&config.disks)?.into_iter().map(Opened::from).collect();
    export_disks(config, disks, None, output, options, progress)
}

/// Writes a VM of a repository that does not run into an archive, as [`export`] does. What an imported VM came with and
/// has no meaning here goes into the archive again.
///
/// # Errors
/// As [`export`]; or the VM's metadata is damaged.
pub fn export_stored(
    vm: &StoredVm,
    output: impl Write,
    options: &WriteOptions,
    progress: &dyn Progress,
) -> Result<Exported> {
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
    options: &WriteOptions,
    progress: &dyn Progress,
) -> Result<Exported> {
    let metadata = stored.map(|stored| stored.attachment(METADATA)).transpose()?.flatten();
    let (config, disks) = vm.config_and_views(scratch.as_ref())?;
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

impl From<Arc<SnapshotView>> for Opened {
    /// What was exported need not be kept while the guest overwrites it.
    fn from(view: Arc<SnapshotView>) -> Self {
        let disk = Arc::clone(&view);
        Self { disk, passed: Box::new(move |end| view.release(end)) }
    }
}

impl ReadAt for Opened {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.capacity())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let length = buffer.len().min(self.disk.capacity().saturating_sub(offset) as usize);
        let buffer = buffer.get_mut(..length).unwrap_or_default();
        read_bytes(&*self.disk, buffer, offset)?;
        Ok(length)
    }
}

impl DiskSource for Opened {
    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.disk.next_data(offset)
    }

    fn release(&self, end: u64) {
        (self.passed)(end);
    }
}

/// Writes a VM whose disks are open. `original` is the `ova.xml` it once came with, of which everything is kept that the
/// configuration does not say.
fn export_disks(
    config: &VmConfig,
    disks: Vec<Opened>,
    original: Option<&[u8]>,
    output: impl Write,
    options: &WriteOptions,
    progress: &dyn Progress,
) -> Result<Exported> {
    let capacities: Vec<_> = disks.iter().map(|opened| opened.disk.capacity()).collect();
    let original = original.map(Document::parse).transpose()?;
    let (document, described) = compose(config, &capacities, original)?;
    let contents: Vec<_> =
        described.iter().zip(&disks).map(|(disk, source)| DiskContents { id: &disk.vdi, source }).collect();
    let size = xvirt_xva::write(output, &document, &contents, options, progress)?;
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
