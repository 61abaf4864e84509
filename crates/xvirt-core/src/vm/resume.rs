//! Resuming a suspended VM from its saved state.

use std::mem;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::events::Event;
use super::handle::{Inner, Power, Started, Vm};
use super::saved::{self, Description, SavedState};
use super::state::{PowerState, Verb};
use crate::machine::{CrashReason, ElapsedTime, Machine, MachineState, Prepared, Restore};
use crate::memory::{GuestRam, Prefault, allocate};
use crate::progress::Progress;
use crate::state::{LazyMemory, StateReader};
use crate::{Error, ErrorKind, Result};

/// How to resume a VM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Resume {
    /// How the guest's clocks account for the time in which it was stopped.
    pub time: ElapsedTime,
    /// When the guest's memory is loaded.
    pub memory: MemoryLoading,
    /// Whether memory that is mapped from the file is loaded by a thread in the background, so that later the guest does
    /// not wait for it. Memory that is not mapped always is. [`Vm::resume_times`] says when all of it is there.
    pub prefault: bool,
}

impl Resume {
    /// Sets how the guest's clocks account for the time in which it was stopped.
    #[must_use]
    pub fn time(mut self, time: ElapsedTime) -> Self {
        self.time = time;
        self
    }

    /// Sets when the guest's memory is loaded.
    #[must_use]
    pub fn memory(mut self, memory: MemoryLoading) -> Self {
        self.memory = memory;
        self
    }

    /// Sets whether memory that is mapped from the file is loaded in the background.
    #[must_use]
    pub fn prefault(mut self, prefault: bool) -> Self {
        self.prefault = prefault;
        self
    }
}

impl From<ElapsedTime> for Resume {
    fn from(time: ElapsedTime) -> Self {
        Self::default().time(time)
    }
}

/// When a resume loads the guest's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MemoryLoading {
    /// [Lazily](Self::Lazy) for the first run of an instance of a template with memory or of a fork, where its file can be
    /// mapped, which is then neither verified nor may it be shortened; and before the guest runs for other VMs.
    #[default]
    Auto,
    /// Before the guest runs. The checksums of the file are verified, and the file's storage is free afterwards.
    Read,
    /// When the guest uses it: it runs at once. What the file and the VM are decides how:
    ///
    /// - Private memory in a file on a disk of this host (ext4, XFS, Btrfs, F2FS, bcachefs or ZFS) is mapped: pages that
    ///   the guest does not write stay shared with all VMs that are resumed from the same file. Nobody may shorten the
    ///   file: an error of reading it would be a SIGBUS in this process. Its storage is used until the VM is halted.
    ///   Checksums are not verified. What the guest gives back is as in the file again, and shared; a guest that
    ///   initialises free memory (`init_on_free`) keeps what it reports as free. Checkpoints of the running VM save its
    ///   memory [in rounds](crate::vm::CheckpointMethod::Rounds).
    /// - [Shared memory](crate::config::VmConfig::shared_memory), huge pages, memory in a file on another file system,
    ///   such as NFS, tmpfs and the overlayfs of containers, and an incremental checkpoint are read into new memory in
    ///   blocks of 2 MiB: those that somebody waits for first, then all others in the background. Checksums are verified.
    ///   If a block cannot be read or is damaged, the guest stops before it executes another instruction, which is a crash
    ///   ([`MemoryNotLoaded`](super::CrashReason::MemoryNotLoaded)). Then its state is lost, as in a power failure,
    ///   because the file was removed when it was resumed. Until all is read, its storage is used, and verbs that need all
    ///   memory wait: suspends, checkpoints and migrations.
    ///
    /// The second way needs userfaultfd, which [`Host::userfaultfd`](crate::host::Host::userfaultfd) reports. It is not
    /// possible with a [memory file](crate::config::VmConfig::memory_file) of the program: another process that maps it
    /// would find zeroes where memory is not read yet.
    Lazy,
}

/// How the guest's memory was loaded by a resume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MemoryLoaded {
    /// It was read before the guest ran.
    #[default]
    Read,
    /// It is mapped from the file.
    Mapped,
    /// It is read while the guest runs, with userfaultfd.
    Userfault,
}

/// How long a resume took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ResumeReport {
    /// The time to read the state of processors and devices, and to build the machine from it.
    pub state: Duration,
    /// The time to read or map the guest's memory.
    pub memory: Duration,
    /// The time from the call until the guest ran.
    pub total: Duration,
    /// How the memory was loaded.
    #[serde(default)]
    pub loaded: MemoryLoaded,
}

/// The times of a resume, from its call on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ResumeTimes {
    /// Until the guest ran.
    pub running: Duration,
    /// Until all memory was in place; `None` if the guest waits when it uses more of it.
    pub resident: Option<Duration>,
}

/// The resume of a VM that has not been halted since.
#[derive(Debug)]
pub(super) struct Resumed {
    asked: Instant,
    running: Instant,
    loading: Loading,
}

/// The memory of a VM that was resumed.
#[derive(Debug)]
enum Loading {
    /// All there at this moment.
    Complete(Instant),
    /// Mapped, and loaded in the background if that was asked for.
    Mapped(Option<Prefault>),
    /// Read into new memory while the guest runs.
    Lazy(Arc<LazyMemory>),
}

impl Loading {
    fn loaded(&self) -> MemoryLoaded {
        match self {
            Self::Complete(_) => MemoryLoaded::Read,
            Self::Mapped(_) => MemoryLoaded::Mapped,
            Self::Lazy(_) => MemoryLoaded::Userfault,
        }
    }

    /// Stops the machine, which does not run yet, if its memory cannot be loaded.
    ///
    /// # Errors
    /// That has happened already.
    fn attach(&self, machine: &Arc<Machine>) -> Result<()> {
        let Self::Lazy(memory) = self else { return Ok(()) };
        // Only its owner drops the machine, after it is detached.
        let machine = Arc::downgrade(machine);
        memory.on_failure(move |failure| {
            if let Some(machine) = machine.upgrade() {
                machine.fail(CrashReason::MemoryNotLoaded(failure.to_string()));
            }
        })
    }
}

impl Resumed {
    /// The machine is about to be dropped: what its memory lacks is not loaded any more, so that nobody waits for storage.
    pub(super) fn end(&self, machine: &Machine) {
        if let Loading::Lazy(memory) = &self.loading {
            memory.end(|| machine.end());
        }
    }

    fn times(&self) -> ResumeTimes {
        let complete = match &self.loading {
            Loading::Complete(moment) => Some(*moment),
            Loading::Mapped(prefault) => prefault.as_ref().and_then(Prefault::complete),
            Loading::Lazy(memory) => memory.complete(),
        };
        let since = |moment: Instant| moment.saturating_duration_since(self.asked);
        ResumeTimes { running: since(self.running), resident: complete.map(since) }
    }
}

/// Where the guest's memory comes from.
enum Source {
    /// It is read before the guest runs.
    Read,
    /// It is mapped from the file.
    Mapped(GuestRam),
    /// It is read while the guest runs.
    Lazy(GuestRam, Arc<LazyMemory>),
}

/// A VM that was assembled from its saved state.
struct Restored {
    started: Started,
    loading: Loading,
    /// The time to load its memory.
    memory: Duration,
    /// How long it was stopped.
    stopped: Duration,
    /// The file, which is still open.
    reader: StateReader,
}

impl Vm {
    /// Resumes a suspended VM: opens and locks its disks, loads its memory and runs it. Its file is removed before the
    /// guest runs, so that the VM can never be resumed a second time with disks that have changed since.
    ///
    /// The guest's clocks continue as if it had run all the time; see [`ElapsedTime`] for what a guest sees. A guest that
    /// uses kvmclock is notified that it was stopped, so that its lockup detectors do not fire. If the guest's agent was
    /// running at the suspend and a second has passed since, a thread also sets the guest's date through it
    /// (`guest-set-time`), within a minute; the resume does not wait for that. Set it later with
    /// [`GuestAgent::set_time`](crate::agent::GuestAgent::set_time) if the guest has no agent, or it did not answer.
    ///
    /// Switches learn where the network interfaces are now: the guest announces them if its driver can (Linux does;
    /// virtio 1.2, section 5.1.6.5.4), and otherwise a reverse ARP request (RFC 903) is sent for each.
    ///
    /// # Errors
    /// After an error the VM is still suspended. Only if the removal of its file fails to reach stable storage, the file
    /// may be gone: then discard the memory with [`hard_shutdown`](Self::hard_shutdown).
    ///
    /// - [`InvalidState`](ErrorKind::InvalidState) if it is not suspended, or the image of a disk was changed since.
    /// - [`NotFound`](ErrorKind::NotFound) if the saved state is gone: another process has resumed the VM, or it was
    ///   reverted.
    /// - [`CorruptState`](ErrorKind::CorruptState), [`UnsupportedState`](ErrorKind::UnsupportedState).
    /// - [`HostUnsupported`](ErrorKind::HostUnsupported) if the host's CPU lacks a feature that the guest uses, which
    ///   is named, its time stamp counter has another frequency, or its KVM refuses the state.
    /// - [`InvalidConfig`](ErrorKind::InvalidConfig) if a disk has another size than it had.
    /// - [`Cancelled`](ErrorKind::Cancelled), and everything that [`start`](Self::start) fails with.
    pub fn resume(&self, progress: &dyn Progress) -> Result<ResumeReport> {
        self.resume_with(Resume::default(), progress)
    }

    /// Like [`resume`](Self::resume), with choices: how the guest's clocks account for the time in between, and when its
    /// memory is loaded.
    ///
    /// ```no_run
    /// # fn main() -> xvirt_core::Result<()> {
    /// # let vm: xvirt_core::vm::Vm = unimplemented!();
    /// use xvirt_core::vm::{MemoryLoading, Resume};
    ///
    /// let lazily = Resume::default().memory(MemoryLoading::Lazy).prefault(true);
    /// println!("the guest ran after {:?}", vm.resume_with(lazily, &())?.total);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`resume`](Self::resume), and [`InvalidConfig`](ErrorKind::InvalidConfig) if memory cannot be loaded
    /// [lazily](MemoryLoading::Lazy).
    pub fn resume_with(&self, how: impl Into<Resume>, progress: &dyn Progress) -> Result<ResumeReport> {
        let (asked, how) = (Instant::now(), how.into());
        let _span = self.inner.enter_span();
        let (mut power, _listed) = self.begin_alone(Verb::Resume)?;
        let saved = self.inner.live().saved.clone().ok_or_else(|| {
            Error::new(ErrorKind::InvalidState, format!("VM '{}' has no file to resume from", self.name()))
        })?;
        let Restored { mut started, loading, memory, stopped, reader } =
            self.inner.restore_from(&*saved, power.run + 1, how, progress)?;
        let state = asked.elapsed().saturating_sub(memory);
        let loaded = loading.loaded();
        loading.attach(started.machine())?;
        saved.discard()?;
        started.announce();
        started.resumed(Resumed { asked, running: Instant::now(), loading });
        self.inner.run(&mut power, started, &Event::Resumed);
        let total = asked.elapsed();
        if let Some(memory) = self.inner.lazy_memory() {
            memory.load_all();
        }
        if how.time == ElapsedTime::Counted {
            self.inner.set_guest_clock(stopped);
        }
        // The last descriptor of a removed file: closing it frees the storage, which takes long for much memory.
        drop(reader);
        Ok(ResumeReport { state, memory, total, loaded })
    }

    /// The times of the resume after which the VM has been in memory until now; `None` if it was started, or is not in
    /// memory. Does not wait for a verb.
    pub fn resume_times(&self) -> Option<ResumeTimes> {
        let live = self.live().ok()?;
        live.running.as_ref()?.resumed.as_ref().map(Resumed::times)
    }
}

impl Inner {
    /// Assembles everything for run number `run` from saved state, parked.
    fn restore_from(
        self: &Arc<Self>,
        saved: &dyn SavedState,
        run: u64,
        how: Resume,
        progress: &dyn Progress,
    ) -> Result<Restored> {
        let path = saved.path();
        let disks: Vec<_> = self.live().devices.disks.values().map(|disk| disk.config.clone()).collect();
        saved.require_resumable(&disks)?;
        let reader = saved.open()?;
        let read = || {
            let description = reader.section::<Description>()?;
            let state = MachineState { processors: reader.section()?, devices: reader.section()? };
            Ok((description, state))
        };
        let (description, state) = read().map_err(|error| saved::in_file(path, error))?;
        description.require_uuid(saved.original().unwrap_or(self.config.uuid), path)?;
        let began = Instant::now();
        let source = self.memory_source(&reader, saved, how.memory)?;
        let mut memory = began.elapsed();
        let (prepared, is_read) = match &source {
            Source::Read => (Prepared::Nothing, true),
            Source::Mapped(ram) | Source::Lazy(ram, _) => (Prepared::Memory(ram.clone()), false),
        };
        let of_another = saved.original().is_some();
        let restore = Restore { state: &state, time: how.time, of_another, prepared };
        let started = self.assemble(run, Some(restore), |machine, _| {
            if is_read {
                let began = Instant::now();
                reader.memory(machine.ram(), progress).map_err(|error| saved::in_file(path, error))?;
                memory = began.elapsed();
            }
            machine.finish_restore()?;
            if description.generation_id != self.config.generation_id {
                // The guest is a copy of one that ran before, or goes back in time.
                machine.announce_generation_id()?;
            }
            machine.tell_stopped()
        })?;
        let loading = match source {
            Source::Read => Loading::Complete(Instant::now()),
            Source::Mapped(ram) if how.prefault => {
                let present = reader.present_memory().map_err(|error| saved::in_file(path, error))?;
                Loading::Mapped(Some(Prefault::start(ram, present)?))
            }
            Source::Mapped(_) => Loading::Mapped(None),
            Source::Lazy(_, memory) => Loading::Lazy(memory),
        };
        Ok(Restored { started, loading, memory, stopped: state.processors.stopped(), reader })
    }

    /// Where the guest's memory comes from.
    fn memory_source(&self, reader: &StateReader, saved: &dyn SavedState, loading: MemoryLoading) -> Result<Source> {
        let (size, backing) = (self.config.memory, &self.config.memory_backing);
        // An error of a file that is not local would kill this process.
        let mappable = !backing.needs_file() && !reader.has_base() && reader.is_local();
        let in_file = |error| saved::in_file(saved.path(), error);
        match loading {
            MemoryLoading::Read => Ok(Source::Read),
            MemoryLoading::Auto if saved.original().is_none() || !mappable => Ok(Source::Read),
            _ if mappable => reader.map_memory(size, backing).map(Source::Mapped).map_err(in_file),
            _ => {
                let refused = |what: &str| {
                    let what = format!("cannot load the memory of VM '{}' lazily: {what}", self.config.name);
                    Error::new(ErrorKind::InvalidConfig, what)
                };
                let remedy = "load it before the guest runs: MemoryLoading::Read";
                if backing.file.is_some() {
                    let what = "it is in a file of the program, which others may map";
                    return Err(refused(what).with_remedy(remedy));
                }
                let ram = allocate(size, backing)?;
                let chain = reader.memory_chain().map_err(in_file)?;
                let memory = LazyMemory::new(ram.clone(), chain, saved.path().display().to_string());
                let memory = memory.map_err(|error| match error.kind() {
                    // Errors of files, memory and threads are not for lack of userfaultfd.
                    ErrorKind::HostUnsupported => refused("page faults cannot be handled")
                        .because(error)
                        .with_remedy(format!("see what Host::probe says of userfaultfd, or {remedy}")),
                    _ => error,
                })?;
                Ok(Source::Lazy(ram, Arc::new(memory)))
            }
        }
    }

    /// The memory that is being loaded, or was, while the guest runs.
    fn lazy_memory(&self) -> Option<Arc<LazyMemory>> {
        let live = self.live();
        match &live.running.as_ref()?.resumed.as_ref()?.loading {
            Loading::Lazy(memory) => Some(Arc::clone(memory)),
            Loading::Complete(_) | Loading::Mapped(_) => None,
        }
    }

    /// Waits until all memory of the guest is there.
    ///
    /// # Errors
    /// It could not be loaded: what is there must not be saved. Or `Cancelled`.
    pub(super) fn require_memory(&self, progress: &dyn Progress) -> Result<()> {
        if let Some(memory) = self.lazy_memory() {
            memory.wait(progress)?;
        }
        match self.machine().and_then(|machine| machine.failure()) {
            None => Ok(()),
            Some(reason) => {
                let what = format!("VM '{}' cannot go on: {reason}", self.config.name);
                Err(Error::new(ErrorKind::InvalidState, what).with_remedy("start it again: hard_reboot"))
            }
        }
    }

    /// Halts a suspended VM.
    pub(super) fn discard_saved(&self, mut power: MutexGuard<'_, Power>) -> Result<()> {
        let saved = self.live().saved.clone();
        match saved.map_or(Ok(()), |saved| saved.discard()) {
            // Others have resumed or discarded it, so that there is nothing left to discard.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            discarded => discarded?,
        }
        self.live().saved = None;
        self.consoles.power_off();
        let _ = mem::take(&mut power.run_end).set(Event::HardShutdown);
        self.enter(PowerState::Halted, &Event::HardShutdown);
        Ok(())
    }
}
