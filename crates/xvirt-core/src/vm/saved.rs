//! Files of suspended VMs: the description of the VM in them, and building the VM from one.

use std::fmt;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Vm;
use super::consoles::SavedConsoles;
use super::devices::Place;
use super::draft::remove;
use super::saved_descriptor::SavedDescriptor;
use crate::config::{Disk, DiskSource, MAX_DEVICES, VmConfig};
use crate::descriptor::Descriptor;
use crate::disk::ImageStamp;
use crate::host::Host;
use crate::named_file::NamedFile;
use crate::progress::Progress;
use crate::state::{Kind, Section, StateReader, base_path};
use crate::{Error, ErrorKind, Result};

/// Where the saved state of a suspended VM is kept.
pub(crate) trait SavedState: Send + Sync + fmt::Debug {
    /// The path of the file, or another name of it for messages.
    fn path(&self) -> &Path;

    /// Opens the file, and those on which it is based.
    fn open(&self) -> Result<StateReader> {
        open(self.path())
    }

    /// The VM whose state it is, if it is another one than the one that resumes: a VM of which that one is a copy.
    fn original(&self) -> Option<Uuid>;

    /// Fails if it cannot be resumed with these disks, in the order of the configuration.
    fn require_resumable(&self, disks: &[Disk]) -> Result<()>;

    /// Makes sure that it is never resumed again. When this returns, that is on stable storage.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if somebody else did so before.
    fn discard(&self) -> Result<()>;
}

/// An image that belongs to a saved state. If it was changed since, the state must not be resumed: its guest would
/// destroy the file systems on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedImage {
    /// Empty for an open file, which may have any name.
    pub(crate) path: PathBuf,
    pub(crate) stamp: ImageStamp,
}

impl SavedImage {
    /// The image of a disk; `None` if the guest cannot write to it, or it is a backend of the program.
    pub(crate) fn of(disk: &Disk) -> Option<Self> {
        if disk.read_only {
            return None;
        }
        // An image that cannot be found makes the resume fail anyway.
        match &disk.source {
            DiskSource::Image { path, .. } => {
                Some(Self { stamp: ImageStamp::of(path).ok()?, path: absolute(path).ok()? })
            }
            DiskSource::Descriptors(images) => {
                Some(Self { stamp: ImageStamp::of_open(images.first()?).ok()?, path: PathBuf::new() })
            }
            DiskSource::Backend(_) => None,
        }
    }

    /// Its name in messages.
    fn name(&self) -> String {
        if self.path.as_os_str().is_empty() { "an open file".to_owned() } else { self.path.display().to_string() }
    }

    /// Fails unless `disk`, which may have another path here, is this image and unchanged.
    pub(super) fn require_same(&self, disk: &Disk) -> Result<()> {
        let Some(here) = Self::of(disk).filter(|here| here.stamp != self.stamp) else { return Ok(()) };
        let what = format!(
            "{} is not the image that was {} at the source: the hosts do not share it, or it was changed since, as by the \
             guest if it runs at the source again",
            here.name(),
            self.name()
        );
        Err(Error::new(ErrorKind::InvalidConfig, what).with_remedy("migrate VMs whose disks both hosts share"))
    }

    /// Fails if `disk` is this image and it was changed.
    fn require_unchanged(&self, disk: &Disk) -> Result<()> {
        if Self::of(disk).is_none_or(|now| now.path != self.path || now == *self) {
            return Ok(());
        }
        let what = format!("the disk in {} was changed after the VM was suspended", self.name());
        Err(Error::new(ErrorKind::InvalidState, format!("{what}; resuming it would destroy the file systems on it"))
            .with_remedy("discard the saved state with hard_shutdown, and start the VM"))
    }
}

/// Fails if one of these disks is the image at the same index, and was changed.
pub(crate) fn require_unchanged(images: &[Option<SavedImage>], disks: &[Disk]) -> Result<()> {
    let mut images = images.iter().zip(disks).filter_map(|(image, disk)| Some((image.as_ref()?, disk)));
    images.try_for_each(|(image, disk)| image.require_unchanged(disk))
}

/// Saved state that is a file by itself.
#[derive(Debug)]
pub(super) struct SavedFile {
    pub(super) path: PathBuf,
    pub(super) images: Vec<Option<SavedImage>>,
}

impl SavedState for SavedFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn original(&self) -> Option<Uuid> {
        None
    }

    fn require_resumable(&self, disks: &[Disk]) -> Result<()> {
        require_unchanged(&self.images, disks)
    }

    fn discard(&self) -> Result<()> {
        remove(&self.path)
    }
}

/// The description of the VM in its saved state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) uuid: Uuid,
    pub(super) name: String,
    /// The generation ID that its guest knows.
    #[serde(default)]
    pub(super) generation_id: Uuid,
    /// The configuration as JSON; `None` if it holds open objects, or is kept elsewhere.
    pub(super) config: Option<String>,
    /// The positions and slots of the disks and network interfaces, in the order of the configuration.
    pub(super) disks: Vec<Place>,
    pub(super) nics: Vec<Place>,
    /// The images of the disks in the same order, if the file is all that is known of the VM.
    #[serde(default)]
    pub(super) images: Vec<Option<SavedImage>>,
}

impl Description {
    /// Fails if it describes another VM than the one with this UUID.
    pub(super) fn require_uuid(&self, uuid: Uuid, path: &Path) -> Result<()> {
        if self.uuid == uuid {
            return Ok(());
        }
        let what =
            format!("{} is the saved state of VM '{}' ({}), not of {uuid}", path.display(), self.name, self.uuid);
        Err(Error::new(ErrorKind::InvalidConfig, what).with_remedy("give the configuration of that VM, with its UUID"))
    }

    /// Checks a description that somebody else wrote, and reads the configuration in it.
    pub(super) fn check(&self) -> Result<Option<VmConfig>> {
        check_places(&self.disks)?;
        check_places(&self.nics)?;
        self.config.as_deref().map(read_config).transpose()
    }
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
    /// The file, if it was given as a descriptor.
    file: Option<Descriptor>,
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
        // The file itself has to be removed at the resume, not a symbolic link to it.
        let path = path.into();
        let path = path.canonicalize().map_err(|error| cannot_open(&path, error))?;
        let reader = open(&path)?;
        Self::read(path, None, &reader)
    }

    /// Reads the description of the VM from an open file, as [`Vm::suspend_to`] wrote it, for a process that cannot open
    /// files. This locks and changes nothing.
    ///
    /// The resume makes the file invalid instead of removing it, before the guest runs.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`InvalidConfig`](ErrorKind::InvalidConfig) if the descriptor is not of a regular
    /// file that is open for reading and writing, or if the file is based on others.
    pub fn from_descriptor(file: impl Into<Descriptor>) -> Result<Self> {
        let descriptor = file.into();
        let file = SavedDescriptor::new(descriptor.clone());
        let reader = file.open()?;
        Self::read(file.path().to_owned(), Some(descriptor), &reader)
    }

    fn read(path: PathBuf, file: Option<Descriptor>, reader: &StateReader) -> Result<Self> {
        let read = || {
            let description = reader.section::<Description>()?;
            let config = description.check()?;
            Ok((description, config, reader.section()?))
        };
        let (description, config, consoles) = read().map_err(|error| in_file(&path, error))?;
        Ok(Self { path, file, description, config, consoles })
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
    /// guest-visible state comes from the file. The configuration must have the same UUID, the same number of vCPUs,
    /// disks and network interfaces and the same amount of memory as at the suspend.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if the configuration does not fit; otherwise as [`VmConfig::build`].
    pub fn build_with(self, config: VmConfig, host: &Host) -> Result<Vm> {
        let images = self.description.images.clone();
        let state: Arc<dyn SavedState> = match &self.file {
            Some(file) => Arc::new(SavedDescriptor::new(file.clone()).with_images(images)),
            None => Arc::new(SavedFile { path: self.path.clone(), images }),
        };
        self.build_from(state, config, host)
    }

    /// Builds the VM from another configuration, and resumes it from `state`.
    pub(crate) fn build_from(self, state: Arc<dyn SavedState>, config: VmConfig, host: &Host) -> Result<Vm> {
        let original = state.original();
        self.description.require_uuid(original.unwrap_or(config.uuid), &self.path)?;
        let vm = config.build_described(host, &self.description, Some(state))?;
        let consoles = if original.is_some() { self.consoles.for_copy() } else { self.consoles };
        vm.inner.consoles.go_on_from(consoles);
        Ok(vm)
    }
}

/// Checks places that a file names: a device must be in a slot that exists, and alone.
fn check_places(places: &[Place]) -> Result<()> {
    let exists = |place: &Place| place.position < MAX_DEVICES && (1..=MAX_DEVICES).contains(&place.slot);
    let alone = |place: &Place| {
        places.iter().filter(|other| other.position == place.position || other.slot == place.slot).count() == 1
    };
    if places.len() <= MAX_DEVICES && places.iter().all(|place| exists(place) && alone(place)) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::CorruptState, "its disks or network interfaces are in impossible places"))
}

/// Reads a configuration as we write it. Fields of newer versions are ignored.
fn read_config(text: &str) -> Result<VmConfig> {
    serde_json::from_str(text)
        .map_err(|e| Error::new(ErrorKind::CorruptState, "its configuration cannot be read").because(e))
}

/// Opens the file of a suspended VM, and those on which it is based.
pub(crate) fn open(path: &Path) -> Result<StateReader> {
    let open_base = |number| {
        let path = base_path(path, number);
        let found = NamedFile::find(&path).and_then(|found| found.open(OpenOptions::new().read(true)));
        found.map_err(|error| cannot_open(&path, error))
    };
    let mut reader = open_alone(path)?;
    reader.open_bases(open_base).map_err(|error| in_file(path, error))?;
    Ok(reader)
}

/// Whether the saved state in a file is based on that in another.
pub(crate) fn has_base(path: &Path) -> Result<bool> {
    open_alone(path).map(|reader| reader.has_base())
}

/// Verifies the checksums of the memory in a file of saved state, without that in those on which it is based.
pub(crate) fn verify_memory(path: &Path, progress: &dyn Progress) -> Result<()> {
    open_alone(path)?.verify_memory(progress).map_err(|error| in_file(path, error))
}

fn open_alone(path: &Path) -> Result<StateReader> {
    let cannot = |error| cannot_open(path, error);
    let found = NamedFile::find(path).map_err(cannot)?;
    if !found.is_file() {
        let what = format!("{} cannot be used as saved state: it is {}", path.display(), found.description());
        return Err(Error::new(ErrorKind::CorruptState, what).with_remedy("give the file that a suspend wrote"));
    }
    let file = found.open(OpenOptions::new().read(true)).map_err(cannot)?;
    StateReader::new(file).map_err(|error| in_file(path, error))
}

fn cannot_open(path: &Path, error: std::io::Error) -> Error {
    Error::io(format!("cannot open saved state {}", path.display()), error)
        .with_remedy("check the path; if the file is gone, the VM was resumed or shut down by others")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{DeviceStates, ProcessorState};

    /// A section that was read, written and read again is the same.
    fn section<S: Section + PartialEq + fmt::Debug>(reader: &StateReader) -> S {
        let section: S = reader.section().unwrap();
        let again: S = rmp_serde::from_slice(&rmp_serde::to_vec_named(&section).unwrap()).unwrap();
        assert_eq!(again, section);
        section
    }

    #[test]
    fn what_earlier_versions_saved_is_read() {
        let all = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/demo/golden")).unwrap();
        let mut names = Vec::new();
        for golden in all {
            let golden = golden.unwrap();
            let mut file = tempfile::tempfile().unwrap();
            let packed = std::fs::File::open(golden.path().join("state.zst")).unwrap();
            zstd::stream::copy_decode(packed, &mut file).unwrap();
            let reader = StateReader::new(file).unwrap();
            let description: Description = reader.section().unwrap();
            assert_eq!((&*description.name, description.disks.len(), description.nics.len()), ("demo", 2, 1));
            let config = read_config(&description.config.unwrap()).unwrap();
            section::<ProcessorState>(&reader);
            let devices: DeviceStates = section(&reader);
            // The network interface, the vsock device, the console, the entropy source, the balloon and two disks.
            assert_eq!(devices.functions().count(), 7);
            let ram = crate::memory::allocate(config.memory, &config.memory_backing).unwrap();
            reader.memory(&ram, &()).unwrap();
            reader.section::<SavedConsoles>().unwrap();
            names.push(golden.file_name());
        }
        names.sort();
        assert_eq!(names, ["1.0-amd", "1.0-intel"]);
    }
}
