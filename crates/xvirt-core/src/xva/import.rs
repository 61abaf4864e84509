//! Making a VM of a repository out of an archive.

use std::io::Read;
use std::sync::Arc;

use xvirt_xva::{Appliance, ExpectedDisk, ReadOptions};

use super::configure::{Choices, configure};
use super::root_device;
use super::target::{Targets, make_image};
use crate::Result;
use crate::config::{Disk, VmConfig};
use crate::disk::{BlockBackend, ImageFormat};
use crate::progress::Progress;
use crate::repository::{Repository, Stage, StoredVm};
use crate::vm::open_disk_read_only;

/// Under which name `ova.xml` is kept with an imported VM, for a later export.
pub(super) const METADATA: &str = "ova.xml";

/// How an archive is imported.
#[derive(Clone, Debug, Default)]
pub struct Import {
    choices: Choices,
    accept_unchecked: bool,
    read: ReadOptions,
}

impl Import {
    /// Gives the VM another name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.choices.name = Some(name.into());
        self
    }

    /// Connects network interfaces that were on the network of this name to a bridge of the host. Others are on none.
    #[must_use]
    pub fn network(mut self, name: impl Into<String>, bridge: impl Into<String>) -> Self {
        self.choices.networks.insert(name.into(), bridge.into());
        self
    }

    /// Keeps UUID, generation ID and hardware addresses: for a VM that moves here, and will not run there again. Else the
    /// VM is a copy with an identity of its own.
    #[must_use]
    pub fn preserve(mut self) -> Self {
        self.choices.preserve = true;
        self
    }

    /// Takes chunks that have no checksum for right, instead of refusing the archive.
    #[must_use]
    pub fn accept_unchecked(mut self) -> Self {
        self.accept_unchecked = true;
        self
    }

    /// Sets how the archive is read.
    #[must_use]
    pub fn read(mut self, options: ReadOptions) -> Self {
        self.read = options;
        self
    }

    pub(super) fn configure(&self, appliance: &Appliance, disks: Vec<Disk>) -> Result<(VmConfig, Vec<String>)> {
        configure(appliance, disks, &self.choices)
    }
}

/// A VM that was imported.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Imported {
    /// The VM, halted.
    pub vm: StoredVm,
    /// What of the appliance cannot be had here, and what was odd about the archive.
    pub remarks: Vec<String>,
}

/// Makes a VM of `repository` out of an archive, in one pass and in [bounded memory](super#memory).
///
/// Each chunk is checked before it is written; zeroes stay holes. The VM exists when this returns, and then completely
/// and on stable storage. What the archive says that has no meaning here is kept for a later
/// [`export_stored`](super::export_stored).
///
/// # Errors
/// The archive is damaged, incomplete or unsupported, the message names its member;
/// [`LimitExceeded`](crate::ErrorKind::LimitExceeded) if its window is larger than allowed; the repository cannot be written;
/// there is a VM of the UUID that is to be preserved; the work was cancelled. Then nothing is left behind.
pub fn import(
    input: impl Read + Send,
    repository: &Repository,
    options: &Import,
    progress: &dyn Progress,
) -> Result<Imported> {
    let mut stage = repository.stage()?;
    let targets = Targets::new(options.accept_unchecked, |appliance, disk| {
        // Before the long work. The commit looks again.
        if let Some(uuid) = appliance.uuid.filter(|_| options.choices.preserve) {
            repository.require_new(uuid)?;
        }
        make_disk(&stage, appliance, disk)
    });
    let read = xvirt_xva::read(input, &options.read, &targets, progress)?;
    let odd = targets.finish()?;
    let disks =
        (0..read.appliance.disks.len()).map(|index| Disk::raw(stage.disk_path(index, ImageFormat::Raw))).collect();
    let (mut config, mut remarks) = options.configure(&read.appliance, disks)?;
    remarks.extend(odd);
    remarks.extend(root_device::adapt(&mut config, open_disk_read_only)?);
    stage.attach(METADATA, read.document.to_xml().as_bytes())?;
    Ok(Imported { vm: stage.commit(config)?, remarks })
}

fn make_disk(stage: &Stage, appliance: &Appliance, disk: &ExpectedDisk) -> Result<Option<Arc<dyn BlockBackend>>> {
    let Some(index) = appliance.disks.iter().position(|other| other.id == disk.id) else { return Ok(None) };
    make_image(&stage.disk_path(index, ImageFormat::Raw), ImageFormat::Raw, disk.size).map(Some)
}
