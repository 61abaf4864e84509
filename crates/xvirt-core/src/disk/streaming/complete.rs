//! Fetches the rest of a disk in the background.

use std::ops::Range;
use std::sync::{Condvar, Mutex};

use super::StreamingDisk;
use crate::disk::backend::BlockBackend;
use crate::progress::{Progress, step};
use crate::sync::lock;
use crate::wait::{Wait, cancelled};
use crate::{Error, Result};

/// How many bytes to fetch between flushes, so that they survive a kill.
const SETTLE_EVERY: u64 = 256 << 20;

/// The guest's requests that need the source, which have priority.
#[derive(Debug, Default)]
pub(super) struct Guests {
    count: Mutex<u64>,
    gone: Condvar,
}

/// One of the guest's requests that needs the source, until it is dropped.
pub(super) struct Guest<'a>(&'a Guests);

impl Guests {
    pub(super) fn come(&self) -> Guest<'_> {
        *lock(&self.count) += 1;
        Guest(self)
    }

    /// Waits until no request needs the source.
    fn let_pass(&self) -> Result<()> {
        let gone = |count: &u64| *count == 0;
        let wait = Wait::until(None);
        let (_count, waited) = wait.until_done(&self.gone, &self.count, lock(&self.count), gone);
        waited.map_err(|_| cancelled("the requests of the guest"))
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        *lock(&self.0.count) -= 1;
        self.0.gone.notify_all();
    }
}

impl StreamingDisk {
    /// Fetches all missing data in ascending order while the guest runs; the guest's requests to the source have
    /// priority. When this returns, all data is in the target and on stable storage, and the source is closed.
    ///
    /// This blocks, so call it on a thread of its own.
    ///
    /// # Errors
    /// The source cannot be read, the target or the map cannot be written, or the operation was cancelled. Fetched data
    /// stays, the disk keeps working, and this can be called again.
    pub fn complete(&self, progress: &dyn Progress) -> Result<()> {
        let (capacity, size) = (self.capacity(), self.blocks.size());
        let (mut at, mut unsettled) = (0, 0);
        while at < capacity {
            let done = (self.blocks.done_count() * size).min(capacity);
            step(progress, done, Some(capacity), "the completion of a disk")?;
            self.guests.let_pass()?;
            at += self.complete_next(at..capacity, &mut unsettled)?;
            if unsettled >= SETTLE_EVERY {
                self.settle().map_err(|error| self.cannot_settle(error))?;
                unsettled = 0;
            }
        }
        self.settle().map_err(|error| self.cannot_settle(error))?;
        step(progress, capacity, Some(capacity), "the completion of a disk")
    }

    /// Processes the start of a range that begins with a block, and returns the number of bytes that are now in the
    /// target.
    fn complete_next(&self, range: Range<u64>, fetched: &mut u64) -> Result<u64> {
        if let (true, end) = self.blocks.run(range.clone()) {
            return Ok(end - range.start);
        }
        let failed = |error| {
            Error::io(format!("cannot fetch the disk {} from byte {}", self.name(), range.start), error)
                .with_remedy("make sure that its source is readable and its target has space, then complete it again")
        };
        // Zeroes cost nothing, so they are skipped in one step.
        let zeroes = match self.source() {
            Some(source) => {
                let found = self.extent.next_data(&*source, range.start).map_err(failed)?;
                found.map_or(range.end, |data| data.start)
            }
            None => return Ok(range.end - range.start),
        };
        let most = zeroes.saturating_sub(range.start).max(self.blocks.size());
        let Some(claim) = self.blocks.claim_next(range.clone(), most) else { return Ok(range.end - range.start) };
        let bytes = claim.bytes();
        self.fill(bytes.clone()).map_err(failed)?;
        claim.finish();
        if zeroes < bytes.end {
            *fetched += bytes.end - bytes.start;
        }
        Ok(bytes.end - range.start)
    }

    fn cannot_settle(&self, error: std::io::Error) -> Error {
        Error::io(format!("cannot put the disk {} on stable storage", self.name()), error)
            .with_remedy("make room on its file system, then complete it again")
    }

    /// The name for messages.
    fn name(&self) -> String {
        format!("with the map {}", lock(&self.map).path().display())
    }
}
