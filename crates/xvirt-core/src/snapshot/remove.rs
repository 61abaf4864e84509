//! Removes snapshots.

use crate::Result;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::repository::{Record, Repository, Snapshot};

impl Repository {
    /// Removes a snapshot. Snapshots can be removed in any order, also while the VM is running: those taken after it,
    /// the VM, and VMs created from it stay as they are. See [when its space
    /// returns](crate::snapshot#when-space-returns).
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if it was removed already; or the repository cannot be written.
    pub fn remove_snapshot(&self, snapshot: &Snapshot) -> Result<()> {
        let lock = self.lock_exclusive()?;
        let snapshot = self.require_snapshot(snapshot.uuid())?;
        let mut record = snapshot.record().clone();
        record.removed = true;
        record.replace(&snapshot.folder())?;
        drop(lock);
        self.sweep_removed();
        Ok(())
    }
}
