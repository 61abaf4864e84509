//! Takes snapshots and checkpoints of a VM that may be in memory.

use std::time::{Duration, Instant};

use super::request::NewSnapshot;
use super::take::{Contents, SnapshotDraft, open_to_repair};
use crate::agent::FrozenFileSystems;
use crate::disk::{Access, Image, Opening, OverlayKind};
use crate::progress::{self, Progress};
use crate::repository::{BeingTaken, OwnDisk, Repository, Snapshot, StoredVm, UnlistedCheckpoint};
use crate::state::MAX_BASES;
use crate::vm::{CheckpointMethod, Extent, NewImage, PowerState, Stopped, Verb, Vm};
use crate::{Error, ErrorKind, Result};

impl Repository {
    pub(super) fn take_live(
        &self,
        vm: &Vm,
        new: &NewSnapshot,
        contents: Contents,
        progress: &dyn Progress,
    ) -> Result<Snapshot> {
        self.take_moment(vm, new, contents, Listing::Listed, progress).map(|taken| taken.snapshot)
    }

    /// Takes a checkpoint that is never listed.
    pub(crate) fn take_unlisted(&self, vm: &Vm, name: String, progress: &dyn Progress) -> Result<UnlistedCheckpoint> {
        let new = NewSnapshot::new(name);
        let taken = self.take_moment(vm, &new, Contents::DisksAndMemory, Listing::Unlisted, progress)?;
        let mark = taken.mark.ok_or_else(|| Error::new(ErrorKind::InvalidState, "the checkpoint is listed"))?;
        Ok(UnlistedCheckpoint::new(self, taken.snapshot.uuid(), mark))
    }

    fn take_moment(
        &self,
        vm: &Vm,
        new: &NewSnapshot,
        contents: Contents,
        listing: Listing,
        progress: &dyn Progress,
    ) -> Result<Taken> {
        let verb = match contents {
            Contents::Disks => Verb::Snapshot,
            Contents::DisksAndMemory => Verb::Checkpoint,
        };
        let operation = vm.begin_long(verb)?;
        let progress = &operation.progress(progress);
        let stored = self.vm(&vm.uuid().to_string())?;
        require_saved_here(vm, &stored)?;
        let mut draft = SnapshotDraft::new(self, stored, new)?;
        progress::step(progress, 0, None, "the snapshot")?;
        let mut saving = match contents {
            Contents::DisksAndMemory if vm.is_in_memory() => {
                // A guest that does not run can wait.
                let running = vm.power_state() == PowerState::Running;
                let method = if running { new.method } else { CheckpointMethod::Stop };
                let file = draft.create_saved_state()?;
                let extent = if new.incremental { incremental(vm, &draft) } else { Extent::Full };
                Some(vm.begin_saving(&operation, file, method, extent, progress)?)
            }
            _ => None,
        };
        let incomplete = saving.is_some() || listing == Listing::Unlisted;
        let mark = incomplete.then(|| draft.begin_taking()).transpose()?;
        let frozen = FrozenGuest::freeze(vm, new.quiesce.filter(|_| contents == Contents::Disks))?;
        let began = Instant::now();
        let mut stopped = vm.stop_guest(&operation)?;
        let snapshot = frozen.require_frozen(vm).and_then(|()| {
            // The guest may have ejected a disk until now.
            draft.describe(vm.config()?)?;
            draft.own_disks().iter().try_for_each(OwnDisk::require_room)?;
            stopped.require_closable()?;
            match (contents, &mut saving) {
                (Contents::Disks, _) => {}
                (Contents::DisksAndMemory, Some(saving)) => saving.stop(&stopped, progress)?,
                (Contents::DisksAndMemory, None) => draft.take_saved_state()?,
            }
            change_images(&mut stopped, draft)
        });
        // The guest must run to be thawed.
        drop(stopped);
        let pause = began.elapsed();
        frozen.thaw(vm);
        let snapshot = snapshot?;
        let id = snapshot.uuid();
        let report = saving.map(|saving| saving.finish(id, pause, progress)).transpose();
        match (report, mark) {
            (Ok(Some(report)), Some(mark)) if listing == Listing::Listed => {
                Ok(Taken { snapshot: self.complete_checkpoint(id, mark, report)?, mark: None })
            }
            (Ok(_), mark) => Ok(Taken { snapshot, mark }),
            (Err(error), mark) => {
                mark.into_iter().for_each(|mark| self.abandon_checkpoint(mark));
                Err(error)
            }
        }
    }
}

/// Whether a snapshot is listed once it is complete.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listing {
    Listed,
    Unlisted,
}

struct Taken {
    snapshot: Snapshot,
    /// Keeps it from being deleted, if it is not listed.
    mark: Option<BeingTaken>,
}

/// Lets a checkpoint be based on the one since which changes are tracked, if it can be.
fn incremental(vm: &Vm, draft: &SnapshotDraft<'_>) -> Extent {
    let Some(base) = vm.tracked() else {
        return Extent::FirstOfMany("no earlier checkpoint is tracked since the VM is in memory".to_owned());
    };
    if base.depth >= MAX_BASES {
        return Extent::FirstOfMany(format!("the last one is based on {MAX_BASES} others, which is the maximum"));
    }
    match draft.link_base(&base) {
        Ok(()) => Extent::Incremental,
        Err(error) => Extent::FirstOfMany(format!("the last one cannot be used: {}", error.without_remedy())),
    }
}

/// Fails if the VM is suspended to a file of the user, which names the images that a snapshot would move.
fn require_saved_here(vm: &Vm, stored: &StoredVm) -> Result<()> {
    if vm.power_state() != PowerState::Suspended || stored.is_suspended() {
        return Ok(());
    }
    let what = format!("VM '{}' was suspended to a file outside the repository, or resumed by others", vm.name());
    Err(Error::new(ErrorKind::InvalidState, what).with_remedy("resume it first; suspend it with Repository::suspend"))
}

/// Gives the VM its new images, and commits the snapshot.
fn change_images(stopped: &mut Stopped<'_>, mut draft: SnapshotDraft<'_>) -> Result<Snapshot> {
    let positions = stopped.positions();
    let own: Vec<_> = draft.own_disks().into_iter().filter_map(|own| Some((*positions.get(own.index)?, own))).collect();
    let changed: Vec<_> = own.iter().map(|(position, _)| *position).collect();
    let in_memory = stopped.in_memory();
    let lock = draft.lock()?;
    let mut change = stopped.close_images(&changed)?;
    let open = || {
        // The images of a VM in memory are locked by their new disks, and others by these.
        let held = own.iter().filter(|_| !in_memory).map(|(_, own)| open_to_repair(own)).collect::<Result<Vec<_>>>()?;
        own.iter().try_for_each(|(position, own)| change.open(new_image(&mut draft, *position, own, in_memory)?))?;
        let snapshot = draft.commit(&lock);
        drop(held);
        snapshot
    };
    match open() {
        Ok(snapshot) => {
            change.keep();
            Ok(snapshot)
        }
        Err(error) => Err(change.undo(error)),
    }
}

/// Creates the new image of a disk, and opens it if the VM is in memory.
fn new_image(draft: &mut SnapshotDraft<'_>, position: usize, own: &OwnDisk, in_memory: bool) -> Result<NewImage> {
    let child = draft.copy(own)?;
    let (access, direct) =
        draft.disk(own.index).map_or((Access::ReadWrite, false), |disk| (disk.access(), disk.direct));
    let image = match child.kind {
        OverlayKind::Reflink => Image::Path(&child.path, Some(child.format)),
        // The image that it is based on moves when the snapshot is committed.
        OverlayKind::Qcow2 => Image::Above(&child.path, (&own.path, own.format)),
    };
    let opened = in_memory.then(|| Opening { image, access, direct }.open()).transpose()?;
    Ok(NewImage { position, source: draft.place(&child), opened })
}

/// The file systems of a guest that are to be consistent in a snapshot.
enum FrozenGuest {
    /// They are as they are.
    No,
    Yes {
        file_systems: FrozenFileSystems,
        since: Instant,
        limit: Duration,
    },
}

impl FrozenGuest {
    fn freeze(vm: &Vm, limit: Option<Duration>) -> Result<Self> {
        let running = vm.power_state() == PowerState::Running;
        let Some(limit) = limit.filter(|_| running) else { return Ok(Self::No) };
        let since = Instant::now();
        let file_systems = vm.agent().with_timeout(limit).freeze_file_systems(limit)?;
        Ok(Self::Yes { file_systems, since, limit })
    }

    /// Fails if the time limit ran out before the guest was stopped.
    fn require_frozen(&self, vm: &Vm) -> Result<()> {
        match self {
            Self::Yes { since, limit, .. } if since.elapsed() >= *limit => {
                let what = format!("the file systems of VM '{}' were not frozen in time, within {limit:?}", vm.name());
                Err(Error::new(ErrorKind::Timeout, what).with_remedy("give more time to NewSnapshot::quiesce"))
            }
            _ => Ok(()),
        }
    }

    fn thaw(self, vm: &Vm) {
        let Self::Yes { file_systems, .. } = self else { return };
        if let Err(error) = file_systems.thaw() {
            // It is tried again on a thread, and the snapshot is complete.
            tracing::warn!("the file systems of VM '{}' are not thawed yet: {error}", vm.name());
        }
    }
}
