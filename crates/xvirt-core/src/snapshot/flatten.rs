//! Makes checkpoints independent of those on which they are based.

use crate::Result;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::progress::Progress;
use crate::repository::{
    Repository, Snapshot, create_saved_state, discard_unused_bases, replace_saved_state, saved_state,
};
#[cfg(doc)]
use crate::snapshot::NewSnapshot;
use crate::vm::open_saved_state;

impl Repository {
    /// Copies the memory that an [incremental](NewSnapshot::incremental) checkpoint shares with those on which it is
    /// based, so that it is based on none. That makes going back to it faster, and lets the space of removed ones return.
    /// Others that are based on it stay as they are; the next one has all memory. A checkpoint that has all memory is
    /// unchanged.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if it was removed, or is no checkpoint;
    /// [`CorruptState`](ErrorKind::CorruptState); [`NoSpace`](ErrorKind::NoSpace);
    /// [`Cancelled`](ErrorKind::Cancelled). Then the checkpoint can be used as before.
    pub fn flatten_checkpoint(&self, checkpoint: &Snapshot, progress: &dyn Progress) -> Result<()> {
        let checkpoint = self.find_snapshot(checkpoint.uuid())?;
        let reader = open_saved_state(&saved_state(&checkpoint.folder()))?;
        let stage = reader.has_base().then(|| self.stage()).transpose()?;
        if let Some(stage) = &stage {
            reader.flatten(create_saved_state(stage.folder())?, progress)?;
        }
        let lock = self.lock_exclusive()?;
        let folder = self.require_snapshot(checkpoint.uuid())?.folder();
        if let Some(stage) = &stage {
            replace_saved_state(&lock, stage, &folder)?;
        }
        let trash = discard_unused_bases(self, &lock, &folder)?;
        drop(lock);
        trash.into_iter().for_each(|id| self.empty(id));
        Ok(())
    }
}
