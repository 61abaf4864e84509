//! Saves a running VM to a file while its guest runs on.
//!
//! Either its memory is protected against writes at one moment and saved afterwards, or it is saved before in rounds, the
//! last of which comes at that moment. The guest is stopped only for that.

use std::fs::File;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::consoles::SavedConsoles;
use super::handle::Vm;
use super::operation::LongOperation;
use super::saved::Description;
use super::stopped::Stopped;
use super::suspend::write_state;
use super::tracking::{Base, Tracked};
use crate::kvm::DirtyLog;
use crate::machine::{Machine, MachineState};
use crate::progress::Progress;
use crate::state::{BackgroundSave, DirtyPages, MemoryBase, Rounds, StateWriter};
use crate::{Error, ErrorKind, Result};

/// The guest is stopped once this little is left to be written, in bytes.
const SMALL: u64 = 8 << 20;
/// The guest is stopped after so many rounds, however much is left.
const MOST_ROUNDS: u32 = 12;

/// How the memory of a running guest is saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckpointMethod {
    /// `Protect` where host and memory allow it, otherwise `Rounds`.
    #[default]
    Auto,
    /// The guest is stopped shortly. Afterwards its memory is protected against writes, and saved while the guest runs;
    /// who writes a page that was not read yet waits until it has been, usually less than a millisecond.
    ///
    /// Needs userfaultfd with write protection (Linux 5.7), which [`Host::userfaultfd`](crate::host::Host::userfaultfd)
    /// reports, and memory that is no file: [`MemoryBacking`](crate::config::MemoryBacking) without `shared`, `file` and
    /// `huge_pages`, of a VM that was not resumed [lazily](crate::vm::MemoryLoading::Lazy), as instances of templates with
    /// memory and forks are by default.
    Protect,
    /// Memory is saved while the guest runs, then what it has written meanwhile, in rounds. The guest is stopped for the
    /// last one. The file system must not become full meanwhile: room is made only for what comes behind memory.
    Rounds,
    /// The guest is stopped until its memory is saved. Room is made as for `Rounds`.
    Stop,
}

/// How a checkpoint of a running VM was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CheckpointReport {
    /// How memory was saved, never [`Auto`](CheckpointMethod::Auto).
    pub method: CheckpointMethod,
    /// Why memory was not protected, if it was to be where possible.
    #[serde(default)]
    pub not_protected: Option<String>,
    /// How long the guest was stopped.
    pub pause: Duration,
    /// The longest time that a vCPU or a device waited for a page to be read before writing it.
    #[serde(default)]
    pub longest_stall: Duration,
    /// All these times together.
    #[serde(default)]
    pub total_stall: Duration,
    /// The bytes of guest memory in the file.
    pub memory: u64,
    /// The bytes of guest memory that were written, which are more if pages were written several times.
    pub written: u64,
    /// How many rounds there were, with the one for which the guest was stopped.
    #[serde(default)]
    pub rounds: u32,
    /// The checkpoint on which an incremental one is based: only what has changed since is in the file.
    #[serde(default)]
    pub base: Option<Uuid>,
    /// Why one that was to be incremental has all memory.
    #[serde(default)]
    pub full_because: Option<String>,
}

/// Whether a checkpoint has all memory.
#[derive(Clone, Debug)]
pub(crate) enum Extent {
    Full,
    /// The next checkpoint can be based on it; this one cannot be based on an earlier one, for this reason.
    FirstOfMany(String),
    /// Only what has changed since the [tracked](Vm::tracked) checkpoint.
    Incremental,
}

/// A VM that is being saved while its guest runs. Dropping it ends that.
pub(crate) struct Saving<'a> {
    vm: &'a Vm,
    way: Way,
    file: File,
    not_protected: Option<String>,
    /// What is written to memory, unless nobody needs to know.
    changes: Option<Changes>,
    full_because: Option<String>,
    /// What the VM was when the guest was stopped.
    moment: Option<Moment>,
}

/// The VM at the moment at which it is saved, without its memory.
struct Moment {
    state: MachineState,
    description: Description,
    consoles: SavedConsoles,
}

enum Way {
    Protect(BackgroundSave),
    /// With the pages that were not written since they changed.
    Rounds(Rounds, DirtyPages),
    Stop(Rounds),
}

/// The changes of memory.
struct Changes {
    log: DirtyLog,
    /// All that were taken out of the log.
    taken: DirtyPages,
    /// The checkpoint since which they are complete.
    base: Option<Base>,
    /// Whether they are needed after this checkpoint.
    go_on: bool,
}

impl Changes {
    /// The pages that were written since the last call.
    fn take(&mut self, machine: &Machine) -> Result<DirtyPages> {
        let dirty = DirtyPages::of_regions(machine.ram(), &self.log.take()?);
        self.taken.merge(&dirty);
        Ok(dirty)
    }
}

impl Vm {
    /// Whether the VM is in memory, running or paused.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.inner.machine().is_some()
    }

    /// Begins to save the running VM to an empty file: does all that can be done before the guest is stopped.
    ///
    /// # Errors
    /// The method is not possible; `NoSpace` or another failure of the file; `Cancelled`.
    pub(crate) fn begin_saving(
        &self,
        _: &LongOperation<'_>,
        file: File,
        method: CheckpointMethod,
        extent: Extent,
        progress: &dyn Progress,
    ) -> Result<Saving<'_>> {
        let machine = self.inner.running_machine()?;
        self.inner.require_memory(progress)?;
        // So that little is left to be flushed while the guest is stopped.
        self.inner.flush_disks(|disk| disk.flush())?;
        let copy = || file.try_clone().map_err(|e| Error::io("cannot duplicate the descriptor of the checkpoint", e));
        let in_file = || Rounds::new(machine.ram().clone(), copy()?);
        let protect = || BackgroundSave::new(machine.ram().clone(), copy()?).map(Way::Protect);
        let in_rounds = || in_file().map(|rounds| Way::Rounds(rounds, DirtyPages::none(0)));
        let mut not_protected = None;
        let way = match method {
            CheckpointMethod::Stop => Way::Stop(in_file()?),
            CheckpointMethod::Rounds => in_rounds()?,
            CheckpointMethod::Protect => protect().map_err(|error| {
                error.with_remedy(
                    "see what Host::probe says of userfaultfd, and resume the VM with MemoryLoading::Read; or let memory be \
                     saved in rounds",
                )
            })?,
            CheckpointMethod::Auto => match protect() {
                Ok(way) => way,
                Err(error) => {
                    not_protected = Some(error.to_string());
                    in_rounds()?
                }
            },
        };
        let (changes, full_because) = self.changes(&machine, matches!(way, Way::Rounds(..)), extent)?;
        // From here on, what was taken out of the log is not lost.
        let mut saving = Saving { vm: self, way, file, not_protected, changes, full_because, moment: None };
        saving.prepare(&machine, progress)?;
        Ok(saving)
    }

    /// The changes that a checkpoint of this extent needs, and why it is full if it is.
    fn changes(&self, machine: &Machine, needed: bool, extent: Extent) -> Result<(Option<Changes>, Option<String>)> {
        let (go_on, full_because) = match extent {
            Extent::Full if !needed => return Ok((None, None)),
            Extent::Full => (false, None),
            Extent::FirstOfMany(reason) => (true, Some(reason)),
            Extent::Incremental => {
                let Some(Tracked { log, changed: taken, base }) = self.take_tracked() else {
                    let what = format!("the writes of VM '{}' are not tracked any more", self.name());
                    return Err(Error::new(ErrorKind::InvalidState, what).with_remedy("take the checkpoint again"));
                };
                return Ok((Some(Changes { log, taken, base: Some(base), go_on: true }), None));
            }
        };
        // There is one log.
        self.track(None);
        let log = machine.dirty_log()?;
        let taken = DirtyPages::none_of(machine.ram());
        Ok((Some(Changes { log, taken, base: None, go_on }), full_because))
    }
}

impl Saving<'_> {
    /// Makes room for what will be saved, and saves memory in rounds while the guest runs, until little is left.
    fn prepare(&mut self, machine: &Machine, progress: &dyn Progress) -> Result<()> {
        let (rounds, rest, changes) = match (&mut self.way, &mut self.changes) {
            (Way::Rounds(rounds, rest), Some(changes)) => (rounds, rest, changes),
            (Way::Rounds(..), None) => {
                return Err(Error::new(ErrorKind::InvalidState, "memory cannot be saved in rounds without a log"));
            }
            (Way::Stop(rounds), _) => return rounds.reserve(),
            (Way::Protect(save), Some(changes)) if changes.base.is_some() => {
                changes.take(machine)?;
                return save.reserve(Some(&changes.taken));
            }
            (Way::Protect(save), _) => return save.reserve(None),
        };
        rounds.reserve()?;
        let mut dirty = rounds.all();
        if changes.base.is_some() {
            changes.take(machine)?;
            dirty = changes.taken.clone();
        }
        loop {
            rounds.write(&dirty, progress)?;
            let before = dirty.bytes();
            dirty = changes.take(machine)?;
            // A guest that writes as fast as storage does is stopped with what is left.
            if dirty.bytes() <= SMALL || rounds.count >= MOST_ROUNDS || dirty.bytes() > before / 4 * 3 {
                *rest = dirty;
                return Ok(());
            }
        }
    }

    /// Saves what has to be saved while the guest is stopped. The VM is saved as it is now.
    pub(crate) fn stop(&mut self, stopped: &Stopped<'_>, progress: &dyn Progress) -> Result<()> {
        let (vm, machine) = (stopped.vm, stopped.vm.inner.running_machine()?);
        // First, because it may write to memory.
        let state = machine.save()?;
        let description = vm.inner.describe(&vm.inner.live(), false)?;
        let consoles = vm.inner.consoles.save();
        let last = self.changes.as_mut().map(|changes| changes.take(&machine)).transpose()?;
        let since_base = self.changes.as_ref().filter(|changes| changes.base.is_some()).map(|changes| &changes.taken);
        match &mut self.way {
            Way::Protect(save) => save.begin(since_base)?,
            Way::Rounds(rounds, rest) => {
                last.iter().for_each(|last| rest.merge(last));
                rounds.write(rest, progress)?;
            }
            Way::Stop(rounds) => rounds.write(since_base.unwrap_or(&rounds.all()), progress)?,
        }
        self.moment = Some(Moment { state, description, consoles });
        Ok(())
    }

    /// Completes the file of this checkpoint, while the guest runs again after it was stopped for `pause`. When this
    /// returns, everything is on stable storage.
    pub(crate) fn finish(
        mut self,
        snapshot: Uuid,
        pause: Duration,
        progress: &dyn Progress,
    ) -> Result<CheckpointReport> {
        let moment = self.moment.take();
        let moment = moment.ok_or_else(|| Error::new(ErrorKind::InvalidState, "the guest was not stopped"))?;
        let (method, map, stalls, written, rounds) = match &mut self.way {
            Way::Protect(save) => {
                let saved = save.finish(progress)?;
                (CheckpointMethod::Protect, saved.map, saved.stalls, saved.written, 0)
            }
            Way::Rounds(rounds, _) => {
                (CheckpointMethod::Rounds, rounds.map(), Default::default(), rounds.written, rounds.count)
            }
            Way::Stop(rounds) => (CheckpointMethod::Stop, rounds.map(), Default::default(), rounds.written, 1),
        };
        let file = self.file.try_clone();
        let mut writer =
            StateWriter::new(file.map_err(|e| Error::io("cannot duplicate the descriptor of the checkpoint", e))?);
        let memory = writer.memory_written(&map)?;
        write_state(&mut writer, &moment.state, &moment.description, &moment.consoles)?;
        let based = self.changes.as_ref().and_then(|changes| Some((changes.base?, &changes.taken)));
        if let Some((base, changed)) = based {
            writer.section(&MemoryBase::new(base.identity, changed))?;
        }
        let base = based.map(|(base, _)| base);
        let (_, identity) = writer.finish_identified()?;
        self.track_from(Base { snapshot, identity, depth: base.map_or(0, |base| base.depth + 1) });
        Ok(CheckpointReport {
            method,
            not_protected: self.not_protected.take(),
            pause,
            longest_stall: stalls.longest,
            total_stall: stalls.total,
            memory,
            written,
            rounds,
            base: base.map(|base| base.snapshot),
            full_because: self.full_because.take(),
        })
    }

    /// Tracks what is written from the moment of this checkpoint on, if it was to be.
    fn track_from(&mut self, base: Base) {
        if let Some(Changes { log, taken, .. }) = self.changes.take().filter(|changes| changes.go_on) {
            let changed = DirtyPages::none(taken.pages());
            self.vm.track(Some(Tracked { log, changed, base }));
        }
    }
}

impl Drop for Saving<'_> {
    /// After a failure, the next checkpoint can still be based on the one before.
    fn drop(&mut self) {
        // First, because KVM lets nobody end the log before all vCPUs that wait to write a page have done so.
        if let Way::Protect(save) = &mut self.way {
            save.end();
        }
        if let Some(Changes { log, taken: changed, base: Some(base), .. }) = self.changes.take() {
            self.vm.track(Some(Tracked { log, changed, base }));
        }
    }
}

#[cfg(feature = "demo")]
#[cfg(test)]
mod tests;
