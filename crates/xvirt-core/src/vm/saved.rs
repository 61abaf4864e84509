//! Files of suspended VMs: the description of the VM in them, and building the VM from one.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Vm;
use super::consoles::SavedConsoles;
use super::devices::Place;
use super::draft::remove;
use crate::config::VmConfig;
use crate::host::Host;
use crate::state::{Kind, Section, StateReader};
use crate::{Error, ErrorKind, Result};

/// Where the saved state of a suspended VM is kept.
pub(crate) trait SavedState: Send + Sync + fmt::Debug {
    /// The path of the file.
    fn path(&self) -> &Path;

    /// Makes sure that it is never resumed again. When this returns, that is on stable storage.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if somebody else did so before.
    fn discard(&self) -> Result<()>;
}

/// Saved state that is a file by itself.
#[derive(Debug)]
pub(super) struct SavedFile(pub(super) PathBuf);

impl SavedState for SavedFile {
    fn path(&self) -> &Path {
        &self.0
    }

    fn discard(&self) -> Result<()> {
        remove(&self.0)
    }
}

/// The description of the VM in its saved state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) uuid: Uuid,
    pub(super) name: String,
    /// The generation ID that its guest knows.
    pub(super) generation_id: Uuid,
    /// The configuration as JSON; `None` if it holds open objects, or is kept elsewhere.
    pub(super) config: Option<String>,
    /// The positions and slots of the disks and network interfaces, in the order of the configuration.
    pub(super) disks: Vec<Place>,
    pub(super) nics: Vec<Place>,
}

impl Section for Description {
    const KIND: Kind = Kind::Description;
    const VERSION: u32 = 1;
}

/// A VM that was suspended, maybe by another process: the file that [`Vm::suspend`] wrote.
///
/// ```no_run
/// # fn main() -> xvirt_core::Result<()> {
/// use xvirt_core::host::Host;
/// use xvirt_core::vm::SuspendedVm;
///
/// let vm = SuspendedVm::open("/var/lib/vms/web-1.suspended")?.build(&Host::probe()?)?;
/// vm.resume(&())?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SuspendedVm {
    path: PathBuf,
    description: Description,
    config: Option<VmConfig>,
    consoles: SavedConsoles,
}

impl SuspendedVm {
    /// Reads the description of the VM from the file at `path`. This locks and changes nothing.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound); [`CorruptState`](ErrorKind::CorruptState) if the file is damaged, cut off or
    /// something else; [`UnsupportedState`](ErrorKind::UnsupportedState) if another version of xvirt wrote it in a
    /// format that this one does not read.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let reader = open(&path)?;
        let read = || {
            let description = reader.section::<Description>()?;
            let config = description.config.as_deref().map(read_config).transpose()?;
            Ok((description, config, reader.section()?))
        };
        let (description, config, consoles) = read().map_err(|error| in_file(&path, error))?;
        Ok(Self { path, description, config, consoles })
    }

    /// The VM's UUID.
    pub fn uuid(&self) -> Uuid {
        self.description.uuid
    }

    /// The VM's name.
    pub fn name(&self) -> &str {
        &self.description.name
    }

    /// The VM's configuration at the suspend; `None` if it contained open objects, such as a disk backend of the
    /// program.
    pub fn config(&self) -> Option<&VmConfig> {
        self.config.as_ref()
    }

    /// Builds the VM in the state suspended.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if the configuration contained open objects, which cannot be stored:
    /// use [`build_with`](Self::build_with). Otherwise as [`VmConfig::build`].
    pub fn build(mut self, host: &Host) -> Result<Vm> {
        let config = self.config.take().ok_or_else(|| {
            let what = format!("{} does not hold the configuration of VM '{}'", self.path.display(), self.name());
            Error::new(ErrorKind::InvalidConfig, what).with_remedy("give the configuration: SuspendedVm::build_with")
        })?;
        self.build_with(config, host)
    }

    /// Builds the VM in the state suspended from another configuration, for example with other disk paths or taps. All
    /// guest-visible state comes from the file. The configuration must have the same number of vCPUs, disks and network
    /// interfaces and the same amount of memory as at the suspend.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if the configuration does not fit; otherwise as [`VmConfig::build`].
    pub fn build_with(self, config: VmConfig, host: &Host) -> Result<Vm> {
        let state = Arc::new(SavedFile(self.path.clone()));
        self.build_from(state, config, host)
    }

    /// Builds the VM from another configuration, and resumes it from `state`.
    pub(crate) fn build_from(self, state: Arc<dyn SavedState>, config: VmConfig, host: &Host) -> Result<Vm> {
        let Self { path, description: Description { disks, nics, .. }, consoles, .. } = self;
        for (what, count, saved) in
            [("disks", config.disks.len(), disks.len()), ("network interfaces", config.nics.len(), nics.len())]
        {
            if count != saved {
                let what =
                    format!("{} is of a VM with {saved} {what}, and the configuration has {count}", path.display());
                return Err(Error::new(ErrorKind::InvalidConfig, what)
                    .with_remedy("give the configuration that the VM had when it was suspended"));
            }
        }
        let vm = config.build_suspended(host, state, &disks, &nics)?;
        vm.inner.consoles.go_on_from(consoles);
        Ok(vm)
    }
}

/// Reads a configuration as we write it. Fields of newer versions are ignored.
fn read_config(text: &str) -> Result<VmConfig> {
    serde_json::from_str(text)
        .map_err(|e| Error::new(ErrorKind::CorruptState, "its configuration cannot be read").because(e))
}

/// Opens the file of a suspended VM.
pub(super) fn open(path: &Path) -> Result<StateReader> {
    let file = File::open(path).map_err(|e| Error::io(format!("cannot open saved state {}", path.display()), e))?;
    StateReader::new(file).map_err(|error| in_file(path, error))
}

/// Adds the path of the file to an error about its contents.
pub(super) fn in_file(path: &Path, error: Error) -> Error {
    match error.kind() {
        ErrorKind::CorruptState | ErrorKind::UnsupportedState => {
            Error::new(error.kind(), format!("{} cannot be used as saved state", path.display())).because(error)
        }
        _ => error,
    }
}
