//! Imports an archive as a VM of a repository.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use xvirt_xva::{Appliance, ReadOptions};

use super::configure::{Choices, configure};
use super::root_device;
use super::target::{Targets, Tolerance, make_image};
use crate::config::{Disk, VmConfig};
use crate::disk::{Access, BlockBackend, ImageFormat};
use crate::progress::Progress;
use crate::repository::{Repository, Stage, StoredVm, check_name};
use crate::sync::lock;
use crate::{Error, Result};

/// The name under which `ova.xml` is attached to an imported VM, for a later export.
pub(super) const METADATA: &str = "ova.xml";

/// Options for an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Import {
    /// The name of the VM; that of the appliance if absent.
    pub name: Option<String>,
    /// The bridges to use for networks, by network name. Interfaces on other networks are not connected.
    pub networks: BTreeMap<String, String>,
    /// Keeps UUID, generation ID and MAC addresses, for a VM that moves here and will not run at its origin again.
    pub preserve: bool,
    /// Accepts chunks without a checksum, instead of rejecting the archive.
    pub accept_unchecked: bool,
    /// How the archive is read.
    pub read: ReadOptions,
}

impl Import {
    /// Gives the VM another name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Connects network interfaces on the network with this name to a bridge of the host. Other interfaces are not
    /// connected. A network without a name has the name "".
    #[must_use]
    pub fn network(mut self, name: impl Into<String>, bridge: impl Into<String>) -> Self {
        self.networks.insert(name.into(), bridge.into());
        self
    }

    /// Keeps UUID, generation ID and MAC addresses, for a VM that moves here and will not run at its origin again. By
    /// default, the VM is a copy with a new identity.
    #[must_use]
    pub fn preserve(mut self) -> Self {
        self.preserve = true;
        self
    }

    /// Accepts chunks without a checksum, instead of rejecting the archive.
    #[must_use]
    pub fn accept_unchecked(mut self) -> Self {
        self.accept_unchecked = true;
        self
    }

    /// Sets the options for reading the archive.
    #[must_use]
    pub fn read(mut self, options: ReadOptions) -> Self {
        self.read = options;
        self
    }

    /// Checks what can be checked before the archive is read.
    pub(super) fn check(&self) -> Result<()> {
        self.name.as_deref().map_or(Ok(()), |name| check_name("VM", name))
    }

    pub(super) fn configure(&self, appliance: &Appliance, disks: Vec<Disk>) -> Result<(VmConfig, Vec<String>)> {
        let Self { name, networks, preserve, .. } = self.clone();
        configure(appliance, disks, &Choices { name, networks, preserve })
    }
}

/// An imported VM.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Imported {
    /// The VM, halted.
    pub vm: StoredVm,
    /// What cannot be converted, and harmless oddities of the archive.
    pub remarks: Vec<String>,
}

/// Imports an archive as a VM of `repository`, in one pass and in [bounded memory](super#memory).
///
/// Each chunk is checked before it is written; zeroes become holes. When this returns, the VM is complete and on stable
/// storage. Data of the archive that has no meaning here is kept for a later [`export_stored`](super::export_stored).
///
/// # Errors
/// The archive is damaged, incomplete or unsupported, and the message names the member;
/// [`LimitExceeded`](crate::ErrorKind::LimitExceeded) if its window exceeds the limit; the repository cannot be
/// written; a VM has the UUID that is to be preserved; the operation was cancelled. Then nothing is left behind.
pub fn import(
    input: impl Read + Send,
    repository: &Repository,
    options: &Import,
    progress: &dyn Progress,
) -> Result<Imported> {
    options.check()?;
    let mut stage = repository.stage()?;
    let large = Mutex::new(BTreeSet::new());
    let tolerance = Tolerance { unchecked: options.accept_unchecked, ..Tolerance::default() };
    let targets = Targets::new(tolerance, |appliance, disk| {
        // Checked early to avoid useless work. The commit checks again.
        if let Some(uuid) = appliance.uuid.filter(|_| options.preserve) {
            repository.require_new(uuid)?;
        }
        let Some(index) = appliance.disks.iter().position(|other| other.id == disk.id) else { return Ok(None) };
        let (image, format) = make_disk(&stage, index, disk.size)?;
        if format == ImageFormat::Qcow2 {
            lock(&large).insert(index);
        }
        Ok(Some(image))
    });
    let read = xvirt_xva::read(input, &options.read, &targets, progress)?;
    let (odd, _) = targets.finish()?;
    let large = large.into_inner().unwrap_or_else(PoisonError::into_inner);
    let disks = (0..read.appliance.disks.len()).map(|index| match large.contains(&index) {
        true => Disk::qcow2(stage.disk_path(index, ImageFormat::Qcow2)),
        false => Disk::raw(stage.disk_path(index, ImageFormat::Raw)),
    });
    let disks = disks.collect();
    let (mut config, mut remarks) = options.configure(&read.appliance, disks)?;
    remarks.extend(odd);
    remarks.extend(large.into_iter().map(large_remark));
    remarks.extend(root_device::adapt(&mut config, |disk| disk.open_backend(Access::ReadOnly))?);
    stage.attach(METADATA, read.document.to_xml().as_bytes())?;
    Ok(Imported { vm: stage.commit(config)?, remarks })
}

/// Creates the image of a staged disk: raw, or qcow2 if the file system has no files as large as the disk, such as ext4
/// above 16 TiB.
pub(super) fn make_disk(stage: &Stage, index: usize, size: u64) -> Result<(Arc<dyn BlockBackend>, ImageFormat)> {
    let make = |format| make_image(&stage.disk_path(index, format), format, size);
    match make(ImageFormat::Raw) {
        Err(error) if is_too_large(&error) => {
            // If it is too large for qcow2 as well, the first error tells why.
            let image = make(ImageFormat::Qcow2).map_err(|_| error)?;
            Ok((image, ImageFormat::Qcow2))
        }
        made => Ok((made?, ImageFormat::Raw)),
    }
}

/// The remark about a disk that became a qcow2 image.
pub(super) fn large_remark(index: usize) -> String {
    format!("disk {index} is a qcow2 image, because the file system of the repository has no files as large as it")
}

fn is_too_large(error: &Error) -> bool {
    let cause = error.cause().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::FileTooLarge)
}
