//! Keeps track of what a guest writes after a checkpoint, so that the next one needs to store only that.

use uuid::Uuid;

use super::handle::Vm;
use crate::Result;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::kvm::DirtyLog;
use crate::state::{DirtyPages, Identity};

/// What was written since a checkpoint.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) log: DirtyLog,
    /// What was taken out of the log already.
    pub(super) changed: DirtyPages,
    pub(super) base: Base,
}

/// A checkpoint on which another can be based.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base {
    /// The checkpoint.
    pub(crate) snapshot: Uuid,
    /// Its file.
    pub(crate) identity: Identity,
    /// On how many others it is based.
    pub(crate) depth: usize,
}

impl Vm {
    /// Stops tracking what the guest writes for [incremental](crate::snapshot::NewSnapshot::incremental) checkpoints, so
    /// that it runs as fast as before. The next such checkpoint has all memory. Without effect if nothing is tracked. Waits
    /// for verbs in progress.
    ///
    /// # Errors
    /// [`InvalidState`](ErrorKind::InvalidState) in a child of the process that made the VM;
    /// [`Cancelled`](ErrorKind::Cancelled) if the call was [interrupted](crate::progress::interruptible).
    pub fn stop_tracking(&self) -> Result<()> {
        let _turn = self.lock()?;
        self.track(None);
        Ok(())
    }

    /// The checkpoint since which all writes to memory are tracked.
    pub(crate) fn tracked(&self) -> Option<Base> {
        self.inner.live().running.as_ref()?.tracked.as_ref().map(|tracked| tracked.base)
    }

    /// Tracks the changes since another checkpoint, or none.
    pub(super) fn track(&self, tracked: Option<Tracked>) {
        let ended = match &mut self.inner.live().running {
            Some(running) => std::mem::replace(&mut running.tracked, tracked),
            None => tracked,
        };
        drop(ended);
    }

    pub(super) fn take_tracked(&self) -> Option<Tracked> {
        self.inner.live().running.as_mut()?.tracked.take()
    }
}
