//! Checkpoints whose memory is still being saved.
//!
//! The VM runs on with its new images, which are based on those of the checkpoint, so the checkpoint is in its place, and
//! counts as removed until it is complete. A file that is locked meanwhile keeps others from deleting it. If the process
//! dies, it is a removed snapshot like any other. One that is only a step to something else is never listed.

use std::fs;
use std::path::Path;

use uuid::Uuid;

use super::lock::FileLock;
use super::stage::{create_locked, is_locked};
use super::store::absent_is;
use super::{Directory, Locked, Record, Repository, Snapshot};
use crate::Result;
use crate::vm::CheckpointReport;

/// The file that is locked.
const FILE: &str = "being-taken";

/// Keeps a checkpoint from being deleted until it is complete.
#[derive(Debug)]
pub(crate) struct BeingTaken {
    _lock: FileLock,
}

impl BeingTaken {
    /// Marks the checkpoint that is prepared in a folder.
    pub(crate) fn mark(folder: &Path) -> Result<Self> {
        create_locked(folder, FILE).map(|lock| Self { _lock: lock })
    }
}

/// A checkpoint that is only a step to something else. Until this is dropped, nobody deletes it.
#[derive(Debug)]
pub(crate) struct UnlistedCheckpoint {
    repository: Repository,
    id: Uuid,
    mark: Option<BeingTaken>,
}

impl UnlistedCheckpoint {
    pub(crate) fn new(repository: &Repository, id: Uuid, mark: BeingTaken) -> Self {
        Self { repository: repository.clone(), id, mark: Some(mark) }
    }

    /// The checkpoint as it is now: others may remove the snapshots on which it is based, and merge their images into its
    /// own.
    pub(crate) fn read(&self, _: &impl Locked) -> Result<Snapshot> {
        self.repository.read_snapshot(self.id)
    }
}

impl Drop for UnlistedCheckpoint {
    fn drop(&mut self) {
        if let Some(mark) = self.mark.take() {
            self.repository.abandon_checkpoint(mark);
        }
    }
}

/// Whether the checkpoint in this folder is being taken.
pub(super) fn is_being_taken(folder: &Path) -> Result<bool> {
    is_locked(folder, FILE)
}

impl Repository {
    /// Lists a checkpoint that is complete.
    pub(crate) fn complete_checkpoint(&self, id: Uuid, mark: BeingTaken, report: CheckpointReport) -> Result<Snapshot> {
        let lock = self.lock_exclusive()?;
        let mut record = self.read_snapshot(id)?.record().clone();
        record.removed = false;
        record.checkpoint = Some(report);
        let folder = self.place(Directory::Snapshots, id);
        record.replace(&folder)?;
        let file = folder.join(FILE);
        if let Err(error) = fs::remove_file(&file).or_else(absent_is(())) {
            tracing::warn!("cannot remove {}, which is harmless: {error}", file.display());
        }
        drop(mark);
        let snapshot = Snapshot::new(self, record);
        drop(lock);
        snapshot
    }

    /// Deletes a checkpoint that failed or is not needed any more, except images on which others are based.
    pub(crate) fn abandon_checkpoint(&self, mark: BeingTaken) {
        drop(mark);
        self.sweep_removed();
    }
}
