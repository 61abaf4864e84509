//! Makes checkpoints independent of those on which they are based.

use crate::Result;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::progress::Progress;
use crate::repository::{Repository, Snapshot, create_saved_state, replace_saved_state, saved_state};
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
    /// [`Cancelled`](ErrorKind::Cancelled). Then it is as before.
    pub fn flatten_checkpoint(&self, checkpoint: &Snapshot, progress: &dyn Progress) -> Result<()> {
        let checkpoint = self.find_snapshot(checkpoint.uuid())?;
        let reader = open_saved_state(&saved_state(&checkpoint.folder()))?;
        if !reader.has_base() {
            return Ok(());
        }
        let stage = self.stage()?;
        reader.flatten(create_saved_state(stage.folder())?, progress)?;
        let lock = self.lock_exclusive()?;
        let checkpoint = self.require_snapshot(checkpoint.uuid())?;
        let trash = replace_saved_state(self, &lock, &stage, &checkpoint.folder())?;
        drop(lock);
        trash.into_iter().for_each(|id| self.empty(id));
        Ok(())
    }
}
