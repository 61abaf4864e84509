//! Saves a running VM to a file while its guest runs on.
//!
//! Either its memory is protected against writes at one moment and saved afterwards, or it is saved before in rounds, the
//! last of which comes at that moment. The guest is stopped only for that.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::consoles::SavedConsoles;
use super::handle::Vm;
use super::operation::LongOperation;
use super::saved::Description;
use super::stopped::Stopped;
use super::suspend::write_state;
use crate::kvm::DirtyLog;
use crate::machine::{Machine, MachineState};
use crate::progress::Progress;
use crate::state::{BackgroundSave, DirtyPages, PAGE, Rounds, StateWriter, ranges_of};
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
    /// `huge_pages`.
    Protect,
    /// Memory is saved while the guest runs, then what it has written meanwhile, in rounds. The guest is stopped for the
    /// last one.
    Rounds,
    /// The guest is stopped until its memory is saved.
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
}

/// A VM that is being saved while its guest runs.
pub(crate) struct Saving {
    way: Way,
    file: File,
    not_protected: Option<String>,
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
    Rounds(Rounds, DirtyLog, DirtyPages),
    Stop(Rounds),
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
        progress: &dyn Progress,
    ) -> Result<Saving> {
        let machine = self.inner.running_machine()?;
        // So that little is left to be flushed while the guest is stopped.
        self.inner.flush_disks(|disk| disk.flush())?;
        let copy = || file.try_clone().map_err(|e| Error::io("cannot duplicate the descriptor of the checkpoint", e));
        let protect = || BackgroundSave::new(machine.ram().clone(), copy()?).map(Way::Protect);
        let in_rounds = || rounds(&machine, Rounds::new(machine.ram().clone(), copy()?)?, progress);
        let mut not_protected = None;
        let way = match method {
            CheckpointMethod::Stop => Way::Stop(Rounds::new(machine.ram().clone(), copy()?)?),
            CheckpointMethod::Rounds => in_rounds()?,
            CheckpointMethod::Protect => protect().map_err(|error| {
                error.with_remedy("see what Host::probe says of userfaultfd, or let memory be saved in rounds")
            })?,
            CheckpointMethod::Auto => match protect() {
                Ok(way) => way,
                Err(error) => {
                    not_protected = Some(error.to_string());
                    in_rounds()?
                }
            },
        };
        Ok(Saving { way, file, not_protected, moment: None })
    }
}

/// Saves memory while the guest runs, until little is left.
fn rounds(machine: &Arc<Machine>, mut rounds: Rounds, progress: &dyn Progress) -> Result<Way> {
    let log = machine.dirty_log()?;
    let mut dirty = rounds.all();
    loop {
        rounds.write(&dirty, progress)?;
        let before = dirty.bytes();
        dirty = written(machine, &log)?;
        // A guest that writes as fast as storage does is stopped with what is left.
        if dirty.bytes() <= SMALL || rounds.count >= MOST_ROUNDS || dirty.bytes() > before / 4 * 3 {
            return Ok(Way::Rounds(rounds, log, dirty));
        }
    }
}

/// The pages that were written since the last call.
fn written(machine: &Machine, log: &DirtyLog) -> Result<DirtyPages> {
    let ranges = ranges_of(machine.ram());
    let mut dirty = DirtyPages::none(ranges.iter().map(|range| range.length / PAGE as u64).sum());
    let mut first = 0;
    for (range, bitmap) in ranges.iter().zip(log.take()?) {
        dirty.insert_bitmap(first, &bitmap);
        first += range.length / PAGE as u64;
    }
    Ok(dirty)
}

impl Saving {
    /// Saves what has to be saved while the guest is stopped. The VM is saved as it is now.
    pub(crate) fn stop(&mut self, stopped: &Stopped<'_>, progress: &dyn Progress) -> Result<()> {
        let (vm, machine) = (stopped.vm, stopped.vm.inner.running_machine()?);
        // First, because it may write to memory.
        let state = machine.save()?;
        let description = vm.inner.describe(&vm.inner.live(), false)?;
        let consoles = vm.inner.consoles.save();
        match &mut self.way {
            Way::Protect(save) => save.begin(None)?,
            Way::Rounds(rounds, log, dirty) => {
                dirty.merge(&written(&machine, log)?);
                rounds.write(dirty, progress)?;
            }
            Way::Stop(rounds) => rounds.write(&rounds.all(), progress)?,
        }
        self.moment = Some(Moment { state, description, consoles });
        Ok(())
    }

    /// Completes the file, while the guest runs again after it was stopped for `pause`. When this returns, everything is
    /// on stable storage.
    pub(crate) fn finish(self, pause: Duration, progress: &dyn Progress) -> Result<CheckpointReport> {
        let Self { way, file, not_protected, moment } = self;
        let moment = moment.ok_or_else(|| Error::new(ErrorKind::InvalidState, "the guest was not stopped"))?;
        let (method, map, stalls, written, rounds) = match way {
            Way::Protect(save) => {
                let saved = save.finish(progress)?;
                (CheckpointMethod::Protect, saved.map, saved.stalls, saved.written, 0)
            }
            Way::Rounds(rounds, log, _) => {
                drop(log);
                let Rounds { count, written, .. } = rounds;
                (CheckpointMethod::Rounds, rounds.map(), Default::default(), written, count)
            }
            Way::Stop(rounds) => (CheckpointMethod::Stop, rounds.map(), Default::default(), rounds.written, 1),
        };
        let mut writer = StateWriter::new(file);
        let memory = writer.memory_written(&map)?;
        write_state(&mut writer, &moment.state, &moment.description, &moment.consoles)?;
        writer.finish()?;
        let (longest_stall, total_stall) = (stalls.longest, stalls.total);
        Ok(CheckpointReport { method, not_protected, pause, longest_stall, total_stall, memory, written, rounds })
    }
}
