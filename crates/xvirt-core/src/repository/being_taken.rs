//! Checkpoints whose memory is still being saved.
//!
//! The VM runs on with its new images, which are based on those of the checkpoint, so the checkpoint is in its place, and
//! counts as removed until it is complete. A file that is locked meanwhile keeps others from deleting it. If the process
//! dies, it is a removed snapshot like any other.

use std::fs;
use std::path::Path;

use uuid::Uuid;

use super::lock::FileLock;
use super::stage::{create_locked, is_locked};
use super::store::absent_is;
use super::{Directory, Record, Repository, Snapshot};
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

    /// Deletes a checkpoint that failed, except images on which others are based.
    pub(crate) fn abandon_checkpoint(&self, mark: BeingTaken) {
        drop(mark);
        self.sweep_removed();
    }
}
