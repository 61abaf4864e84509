//! Input from an event loop.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use super::shared::{Shared, Watcher};
use crate::Result;

/// Sends input to a console without waiting, for event loops. [`Console::writer`](super::Console::writer) returns it.
///
/// May be used from several threads, but they share one descriptor, which tells of the last [`try_write`] only. Create
/// one for each user otherwise.
///
/// [`try_write`]: Self::try_write
pub struct ConsoleWriter {
    shared: Arc<Shared>,
    watcher: Arc<Watcher>,
}

impl ConsoleWriter {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self> {
        let watcher = shared.watch_room()?;
        Ok(Self { shared, watcher })
    }

    /// Sends as much of `bytes` as there is room for; returns how many bytes, possibly 0. If that was not all, the
    /// [descriptor](Self::as_fd) becomes readable when the rest should be tried.
    ///
    /// # Errors
    /// As [`Console::try_write`](super::Console::try_write).
    pub fn try_write(&self, bytes: &[u8]) -> Result<usize> {
        self.shared.try_input_and_watch(bytes, &self.watcher)
    }
}

impl AsFd for ConsoleWriter {
    /// A descriptor for `poll` or an event loop: readable once there is room for the rest of what
    /// [`try_write`](Self::try_write) was given, or once it fails because the VM is halted, reset or gone. Only poll it;
    /// do not read from it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watcher.as_fd()
    }
}

impl fmt::Debug for ConsoleWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsoleWriter").finish_non_exhaustive()
    }
}
