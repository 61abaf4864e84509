//! Takes snapshots and checkpoints of a VM that may be in memory.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use super::request::NewSnapshot;
use super::take::Draft;
use crate::agent::FrozenFileSystems;
use crate::disk::{Access, Image, Opening, OverlayKind};
use crate::progress::{self, Progress};
use crate::repository::{OwnDisk, Repository, Snapshot};
use crate::vm::{NewImage, PowerState, Still, Verb, Vm};
use crate::{Error, ErrorKind, Result};

impl Repository {
    /// Takes a checkpoint of a running or paused VM: its disks and its memory at one moment, consistent with each other.
    /// A VM that is [reverted](Self::revert) to it is suspended, and resumes at that moment.
    ///
    /// The guest is stopped until its memory is saved, which takes as long as writing that much to the file system.
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot), and: [`InvalidState`](ErrorKind::InvalidState) if the VM is neither running nor
    /// paused, or a device cannot be saved; [`NoSpace`](ErrorKind::NoSpace). Then there is no checkpoint, and the VM is
    /// as before.
    pub fn checkpoint(&self, vm: &Vm, new: impl Into<NewSnapshot>, progress: &dyn Progress) -> Result<Snapshot> {
        let new = new.into();
        new.check()?;
        self.take(vm, &new, Verb::Checkpoint, progress)
    }

    pub(super) fn snapshot_live(&self, vm: &Vm, new: &NewSnapshot, progress: &dyn Progress) -> Result<Snapshot> {
        self.take(vm, new, Verb::Snapshot, progress)
    }

    fn take(&self, vm: &Vm, new: &NewSnapshot, verb: Verb, progress: &dyn Progress) -> Result<Snapshot> {
        let operation = vm.begin_long(verb)?;
        let progress = &operation.progress(progress);
        let stored = self.vm(&vm.uuid().to_string())?;
        let mut draft = Draft::new(self, stored, vm.config()?, new)?;
        progress::step(progress, 0, None, "the snapshot")?;
        let frozen = Frozen::freeze(vm, new.quiesce.filter(|_| verb == Verb::Snapshot))?;
        let mut still = vm.hold_still(&operation)?;
        frozen.require_frozen(vm)?;
        if verb == Verb::Checkpoint {
            let path = draft.saved_state();
            let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
            let file = file.map_err(|error| Error::io(format!("cannot create {}", path.display()), error))?;
            still.save(file, progress)?;
        }
        let snapshot = change_images(&mut still, draft);
        // The guest must run to be thawed.
        drop(still);
        frozen.thaw(vm);
        snapshot
    }
}

/// Gives the VM its new images, and commits the snapshot.
fn change_images(still: &mut Still<'_>, mut draft: Draft<'_>) -> Result<Snapshot> {
    let positions = still.positions();
    let own: Vec<_> = draft.own_disks().into_iter().filter_map(|own| Some((*positions.get(own.index)?, own))).collect();
    let changed: Vec<_> = own.iter().map(|(position, _)| *position).collect();
    let in_memory = still.in_memory();
    let mut change = still.close_images(&changed)?;
    let open = || {
        own.iter().try_for_each(|(position, own)| change.open(new_image(&mut draft, *position, own, in_memory)?))?;
        draft.commit()
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
fn new_image(draft: &mut Draft<'_>, position: usize, own: &OwnDisk, in_memory: bool) -> Result<NewImage> {
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
enum Frozen {
    /// They are as they are.
    No,
    Yes {
        file_systems: FrozenFileSystems,
        since: Instant,
        limit: Duration,
    },
}

impl Frozen {
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
