//! Suspending a VM to a file.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use super::consoles::SavedConsoles;
use super::draft::FileDraft;
use super::handle::{Inner, Vm};
use super::live::Live;
use super::saved::{Description, SavedFile, SavedImage, SavedState};
use super::saved_descriptor::SavedDescriptor;
use super::state::{PowerState, Verb};
use crate::config::{DiskSource, VmConfig};
use crate::descriptor::Descriptor;
use crate::disk::BlockBackend;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::machine::{Machine, MachineState};
use crate::progress::Progress;
use crate::state::StateWriter;
use crate::{Error, Result};

/// The result of a suspend: what it wrote, and how long it took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SuspendReport {
    /// The bytes of guest memory in the file. All other memory is zero.
    pub memory: u64,
    /// The time from the call until the guest was stopped.
    pub parking: Duration,
    /// The time to read and write the state of processors and devices.
    pub state: Duration,
    /// The time from the call until everything was on stable storage.
    pub total: Duration,
}

/// What was saved to a file.
pub(super) struct SavedBytes {
    /// The bytes of guest memory in it.
    pub(super) memory: u64,
    /// The time to read and write the rest.
    pub(super) state: Duration,
}

impl Vm {
    /// Saves a running or paused VM to a new file at `path`, and releases its memory and the locks of its disks.
    /// [`resume`](Self::resume) continues from the file; another process can do so with
    /// [`SuspendedVm`](super::SuspendedVm).
    ///
    /// The file contains the guest's memory, so it is as large as the memory that the guest uses, and contains the
    /// guest's secrets; only its owner can read it. It does not contain the disks. **Do not change a disk before the VM
    /// is resumed: that destroys the file systems on it.** When this returns, the file and the disks are on stable
    /// storage.
    ///
    /// The guest's vsock connections are reset at the resume. The file contains the newest 64 KiB of the output of each
    /// console, and the input that the guest has not read.
    ///
    /// # Errors
    /// After an error the VM is as before, and no file is left.
    ///
    /// - [`InvalidState`](ErrorKind::InvalidState) if it is neither running nor paused, a device cannot be saved, or its
    ///   memory could not be loaded (it crashed for that reason).
    /// - [`AlreadyExists`](ErrorKind::AlreadyExists) if there is something at `path`.
    /// - [`NotFound`](ErrorKind::NotFound) if the folder of `path`, or the image of a disk, is not there any more.
    /// - [`NoSpace`](ErrorKind::NoSpace), [`PermissionDenied`](ErrorKind::PermissionDenied) and others of the file, or
    ///   of flushing the disks.
    /// - [`Busy`](ErrorKind::Busy) if the program has taken the signal that interrupts vCPUs for itself.
    /// - [`Cancelled`](ErrorKind::Cancelled).
    pub fn suspend(&self, path: impl AsRef<Path>, progress: &dyn Progress) -> Result<SuspendReport> {
        let path = std::path::absolute(path.as_ref())
            .map_err(|e| Error::io(format!("cannot find {}", path.as_ref().display()), e))?;
        // The state of the VM decides first whether it can be suspended.
        Verb::Suspend.check(self.name(), self.power_state())?;
        let draft = FileDraft::create(&path)?;
        let (file, with_config) = (draft.file()?, true);
        let publish = |config: VmConfig| {
            draft.publish()?;
            Ok(Arc::new(SavedFile { path, images: images_of(&config) }) as _)
        };
        self.suspend_as(file, with_config, publish, progress)
    }

    /// Like [`suspend`](Self::suspend), to an open, empty, regular file, for a process that cannot open files. Another
    /// process continues with [`SuspendedVm::from_descriptor`](super::SuspendedVm::from_descriptor).
    ///
    /// # Errors
    /// As [`suspend`](Self::suspend); after an error the file is empty. And
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if the file is not empty, or not open for reading and writing.
    pub fn suspend_to(&self, file: impl Into<Descriptor>, progress: &dyn Progress) -> Result<SuspendReport> {
        Verb::Suspend.check(self.name(), self.power_state())?;
        let saved = SavedDescriptor::new(file.into());
        let file = saved.empty_file()?;
        let clear = file.try_clone().map_err(|e| Error::io("cannot duplicate a descriptor", e))?;
        let publish = |config: VmConfig| Ok(Arc::new(saved.with_images(images_of(&config))) as _);
        let suspended = self.suspend_as(file, true, publish, progress);
        if suspended.is_err() {
            // What is left of it has no valid header, so that nobody resumes from it.
            let _ = clear.set_len(0);
        }
        suspended
    }

    /// Saves the VM to an empty file. `publish` gets the VM's configuration, and puts the file in its place; if it
    /// fails, the VM is as before. The file does not contain the configuration, which the caller keeps.
    pub(crate) fn suspend_into(
        &self,
        file: File,
        publish: impl FnOnce(VmConfig) -> Result<Arc<dyn SavedState>>,
        progress: &dyn Progress,
    ) -> Result<SuspendReport> {
        self.suspend_as(file, false, publish, progress)
    }

    fn suspend_as(
        &self,
        file: File,
        with_config: bool,
        publish: impl FnOnce(VmConfig) -> Result<Arc<dyn SavedState>>,
        progress: &dyn Progress,
    ) -> Result<SuspendReport> {
        let began = Instant::now();
        let _span = self.inner.enter_span();
        let (power, _listed) = self.begin(Verb::Suspend)?;
        self.inner.require_all_disks()?;
        self.inner.require_images()?;
        let machine = self.inner.running_machine()?;
        self.inner.require_memory(progress)?;
        let was_running = self.power_state() == PowerState::Running;
        if was_running {
            machine.park()?;
        }
        self.inner.take_ejected();
        let parking = began.elapsed();
        let save = || {
            self.inner.flush_disks(|disk| disk.flush_to_close())?;
            let saved = self.inner.save_to(&machine, file, with_config, progress)?;
            let config = self.inner.live().config(&self.inner.config);
            Ok((saved, publish(config)?))
        };
        let saved: Result<_> = save();
        if saved.is_err() && was_running {
            machine.run_again();
        }
        let (SavedBytes { memory, state }, saved) = saved?;
        drop(machine);
        self.inner.consoles.suspend();
        self.inner.leave_memory(power, saved);
        Ok(SuspendReport { memory, parking, state, total: began.elapsed() })
    }
}

impl Inner {
    /// Writes a parked machine to an empty file, and the file to stable storage.
    pub(super) fn save_to(
        &self,
        machine: &Machine,
        file: File,
        with_config: bool,
        progress: &dyn Progress,
    ) -> Result<SavedBytes> {
        let began = Instant::now();
        let saved = machine.save()?;
        let read = began.elapsed();
        let description = self.describe(&self.live(), with_config)?;
        let mut writer = StateWriter::new(file);
        let memory = writer.memory(machine.ram(), progress)?;
        let began = Instant::now();
        write_state(&mut writer, &saved, &description, &self.consoles.save())?;
        let state = read + began.elapsed();
        writer.finish()?;
        Ok(SavedBytes { memory, state })
    }

    /// Fails if the image of a disk has lost its name, without which the VM could not be resumed.
    fn require_images(&self) -> Result<()> {
        for disk in self.live().config(&self.config).disks {
            if let DiskSource::Image { path, .. } = &disk.source {
                fs::metadata(path).map_err(|error| {
                    let what = format!("cannot find disk {} of VM '{}'", path.display(), self.config.name);
                    Error::io(what, error).with_remedy(
                        "if it was moved, or the folder that it is in, move it back: without it, the VM could not be resumed",
                    )
                })?;
            }
        }
        Ok(())
    }

    /// The state of a parked machine except its memory, as the bytes of a file of saved state.
    pub(super) fn state_without_memory(&self, machine: &Machine) -> Result<Vec<u8>> {
        let saved = machine.save()?;
        let mut writer = StateWriter::new(file_in_memory()?);
        write_state(&mut writer, &saved, &self.describe(&self.live(), true)?, &self.consoles.save())?;
        let mut bytes = Vec::new();
        let mut file = writer.finish()?;
        let read = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
        read.map(|_| bytes).map_err(|e| Error::io("cannot read the state of the machine back", e))
    }

    /// Writes the open disks to stable storage with `flush`. For a parked machine, that has to be
    /// [`BlockBackend::flush_to_close`], so that closing them changes nothing: a crash of the host must not lose writes
    /// that the guest, whose memory survives, considers complete.
    pub(super) fn flush_disks(&self, flush: impl Fn(&dyn BlockBackend) -> io::Result<()>) -> Result<()> {
        let disks: Vec<_> = self.live().devices.disks.values().filter_map(|disk| disk.backend()).collect();
        disks.iter().try_for_each(|disk| flush(&**disk)).map_err(|e| Error::io("cannot flush the disks of the VM", e))
    }

    pub(super) fn describe(&self, live: &Live, with_config: bool) -> Result<Description> {
        let (disks, nics) = live.devices.places();
        let mut description = Description {
            uuid: self.config.uuid,
            name: self.config.name.clone(),
            generation_id: self.config.generation_id,
            config: None,
            disks,
            nics,
            images: Vec::new(),
        };
        if with_config {
            let mut config = live.config(&self.config);
            config.make_paths_absolute()?;
            description.images = images_of(&config);
            // A configuration with open objects cannot be serialized. The VM can still be resumed by this handle, or
            // with another configuration.
            description.config = serde_json::to_string(&config).ok();
        }
        Ok(description)
    }
}

/// Writes everything but memory.
pub(super) fn write_state(
    writer: &mut StateWriter,
    state: &MachineState,
    description: &Description,
    consoles: &SavedConsoles,
) -> Result<()> {
    writer.section(&state.processors)?;
    writer.section(&state.devices)?;
    writer.section(description)?;
    writer.section(consoles)
}

/// An unnamed file in memory, for saved state that is sent to another host.
pub(super) fn file_in_memory() -> Result<File> {
    memfd_create("xvirt-machine-state", MemfdFlags::CLOEXEC)
        .map(File::from)
        .map_err(|e| Error::io("cannot create a file in memory for the state of the machine", e.into()))
}

fn images_of(config: &VmConfig) -> Vec<Option<SavedImage>> {
    config.disks.iter().map(SavedImage::of).collect()
}
