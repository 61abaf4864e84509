//! Disks of an earlier run that snapshot views may keep open.

use std::sync::Weak;

use super::CopyBeforeWrite;
use crate::sync::{Arc, Condvar, Mutex, lock, wait};

/// A disk that stays open and locked as long as it is used.
#[derive(Clone, Debug)]
pub(crate) struct PreviousDisk {
    disk: Weak<CopyBeforeWrite>,
    closed: Arc<Closed>,
}

/// Whether a disk is closed, so that it can be opened again.
#[derive(Debug, Default)]
struct Closed {
    closed: Mutex<bool>,
    changed: Condvar,
}

/// The last field that a disk drops.
#[derive(Debug, Default)]
pub(super) struct Closing(Arc<Closed>);

impl Drop for Closing {
    fn drop(&mut self) {
        *lock(&self.0.closed) = true;
        self.0.changed.notify_all();
    }
}

impl PreviousDisk {
    pub(super) fn new(disk: &Arc<CopyBeforeWrite>, closing: &Closing) -> Self {
        Self { disk: Arc::downgrade(disk), closed: Arc::clone(&closing.0) }
    }

    /// The disk, if it is still in use; otherwise it is closed when this returns. This waits if another thread is just
    /// closing it, because the image stays locked until then.
    pub(crate) fn get(&self) -> Option<Arc<CopyBeforeWrite>> {
        let disk = self.disk.upgrade();
        if disk.is_none() {
            let mut closed = lock(&self.closed.closed);
            while !*closed {
                closed = wait(&self.closed.changed, closed);
            }
        }
        disk
    }
}
