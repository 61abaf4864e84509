//! Writes a VM into an archive.

use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xvirt_xva::ova::Document;
use xvirt_xva::{DiskContents, DiskSource, ReadAt, WriteOptions};

use super::compose::compose;
use super::import::METADATA;
use crate::Result;
use crate::config::{Boot, Disk, VmConfig};
use crate::disk::{Access, BlockBackend, SnapshotView, read_bytes};
use crate::progress::Progress;
use crate::repository::StoredVm;
use crate::vm::{Verb, Vm};

/// The result of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Exported {
    /// The size of the archive in bytes.
    pub size: u64,
    /// Properties of the VM that an appliance cannot express.
    pub remarks: Vec<String>,
}

/// Writes a halted VM, described by `config`, into an archive that XenServer and XCP-ng can import.
///
/// The disks are locked for reading meanwhile; holes are not read. `output` receives the archive in one pass, in a few
/// large writes per megabyte. Disk sizes are rounded up to whole MiB, with zeroes.
///
/// # Errors
/// A disk cannot be opened or read, or is in use; `output` cannot be written; the operation was cancelled. The bytes
/// written so far are not a valid archive.
pub fn export(
    config: &VmConfig,
    output: impl Write,
    options: &WriteOptions,
    progress: &dyn Progress,
) -> Result<Exported> {
    let disks = open_disks(&config.disks)?;
    export_disks(config, disks, None, output, options, progress)
}

/// Writes a halted VM of a repository into an archive, like [`export`]. Fields of an imported VM that have no meaning
/// here are written back to the archive.
///
/// # Errors
/// As for [`export`]; or the VM's metadata is damaged.
pub fn export_stored(
    vm: &StoredVm,
    output: impl Write,
    options: &WriteOptions,
    progress: &dyn Progress,
) -> Result<Exported> {
    let config = vm.config();
    let disks = open_disks(&config.disks)?;
    export_disks(&config, disks, vm.attachment(METADATA)?.as_deref(), output, options, progress)
}

/// Writes a running VM into an archive, like [`export`], with its disks at one point in time at the start.
///
/// The guest keeps writing, which does not affect the archive. The old contents of overwritten blocks are kept in
/// unnamed files in the folder `scratch`, which need at most as much space as the guest changes. To the guest, the file
/// systems in the archive look as after a power failure. Until this returns, it is one of the VM's
/// [`current_operations`](Vm::current_operations), and other verbs are allowed. `stored` is the VM in the repository,
/// if there is one: see [`export_stored`].
///
/// # Errors
/// As for [`export`]; or `scratch` has no space for old contents: then the export fails, and the guest continues.
pub fn export_running(
    vm: &Vm,
    stored: Option<&StoredVm>,
    scratch: impl AsRef<Path>,
    output: impl Write,
    options: &WriteOptions,
    progress: &dyn Progress,
) -> Result<Exported> {
    let metadata = stored.map(|stored| stored.attachment(METADATA)).transpose()?.flatten();
    let mut operation = vm.begin_long(Verb::Export)?;
    let (config, disks) = vm.config_and_views(&operation, scratch.as_ref())?;
    operation.release();
    let disks = disks.into_iter().map(Opened::from).collect();
    export_disks(&config, disks, metadata.as_deref(), output, options, &operation.progress(progress))
}

/// Opens the disks of a VM that does not run, and locks them against whoever would write.
fn open_disks(disks: &[Disk]) -> Result<Vec<Opened>> {
    disks.iter().map(|disk| disk.open_backend(Access::ReadOnly).map(Opened::from)).collect()
}

/// A disk to be exported.
struct Opened {
    disk: Arc<dyn BlockBackend>,
    /// Called with the offset up to which the disk has been read for the last time.
    passed: Box<dyn Fn(u64) + Send + Sync>,
}

impl From<Arc<dyn BlockBackend>> for Opened {
    fn from(disk: Arc<dyn BlockBackend>) -> Self {
        Self { disk, passed: Box::new(|_| {}) }
    }
}

impl From<Arc<SnapshotView>> for Opened {
    /// Releases exported blocks, so that they need not be preserved any more.
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

/// Writes a VM whose disks are open. `original` is the `ova.xml` with which it was imported; its fields without a
/// counterpart in the configuration are kept.
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
