//! What is asked of a disk, and how it went.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::disk::backend::BlockBackend;
use crate::memory::{GuestBuffers, GuestRam};
use serde::{Deserialize, Serialize};

/// What was asked of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IoOperation {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Making everything written before durable.
    Flush,
    /// Giving back space.
    Discard,
    /// Writing zeroes.
    WriteZeroes,
}

/// One request; filled by who asks, and used again for the next.
#[derive(Debug)]
pub(crate) struct Request {
    /// What to do.
    pub(crate) operation: IoOperation,
    /// Where, in bytes: one range to read or write, as long as the buffers; several to clear, none to flush.
    pub(crate) ranges: Vec<Range<u64>>,
    /// What to read into or to write from.
    pub(crate) buffers: GuestBuffers,
    /// Whether the space of what is zeroed may be given back.
    pub(crate) unmap: bool,
    /// Whether it is to be on stable storage before it ends.
    pub(crate) durable: bool,
    /// For who asked, to know it again.
    pub(crate) token: usize,
    /// How it went; of meaning only once it ended.
    pub(crate) outcome: Result<(), Failure>,
}

/// What of a request failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) operation: IoOperation,
    /// Where, in bytes; empty for a flush.
    pub(crate) range: Range<u64>,
    pub(crate) error: io::Error,
}

impl Request {
    /// A request to be filled, with buffers in `memory`.
    pub(crate) fn new(memory: Arc<GuestRam>) -> Self {
        Self {
            operation: IoOperation::Flush,
            ranges: Vec::new(),
            buffers: GuestBuffers::new(memory),
            unmap: false,
            durable: false,
            token: 0,
            outcome: Ok(()),
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.operation = IoOperation::Flush;
        self.ranges.clear();
        self.buffers.clear();
        (self.unmap, self.durable) = (false, false);
        self.outcome = Ok(());
    }

    /// The range to read or write, if that is all there is to do.
    pub(super) fn transfer(&self) -> Option<&Range<u64>> {
        let plain = matches!(self.operation, IoOperation::Read | IoOperation::Write) && !self.durable;
        self.ranges.first().filter(|range| plain && !range.is_empty())
    }

    /// Does it, with blocking calls.
    pub(super) fn perform(&mut self, backend: &dyn BlockBackend) {
        self.outcome = self.ranges.iter().try_for_each(|range| self.one(range, backend));
        if self.outcome.is_ok() && (self.durable || self.operation == IoOperation::Flush) {
            let failed = |error| Failure { operation: IoOperation::Flush, range: 0..0, error };
            self.outcome = backend.flush().map_err(failed);
        }
    }

    fn one(&self, range: &Range<u64>, backend: &dyn BlockBackend) -> Result<(), Failure> {
        let (start, length) = (range.start, range.end.saturating_sub(range.start));
        let done = match self.operation {
            IoOperation::Read => backend.read(&self.buffers.slices(), start),
            IoOperation::Write => backend.write(&self.buffers.slices(), start),
            IoOperation::Flush => Ok(()),
            IoOperation::Discard => backend.discard(start, length),
            IoOperation::WriteZeroes => backend.write_zeroes(start, length, self.unmap),
        };
        done.map_err(|error| Failure { operation: self.operation, range: range.clone(), error })
    }
}
