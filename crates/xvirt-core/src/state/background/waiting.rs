//! Lets threads wait for a save that does not end, for tests of what ends it.

use super::*;

/// Threads that wait to write pages which seem to be being read.
pub(crate) struct Waiting(Arc<Shared>);

impl BackgroundSave {
    /// Lets everybody who writes a page wait, as if its chunk were just being read.
    pub(crate) fn let_all_writers_wait(&self) -> Waiting {
        for number in 0..self.shared.chunks.len() as u64 {
            self.shared.claim(number);
        }
        Waiting(Arc::clone(&self.shared))
    }
}

impl Waiting {
    pub(crate) fn is_somebody_there(&self) -> bool {
        self.0.protection.has_waiting()
    }

    pub(crate) fn end(&self) {
        lock(&self.0.work).ended = true;
        self.0.changed.notify_all();
    }
}
