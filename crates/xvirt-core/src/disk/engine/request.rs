//! I/O requests and their results.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::disk::backend::BlockBackend;
use crate::memory::{GuestBuffers, GuestRam};
use serde::{Deserialize, Serialize};

/// The operation of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IoOperation {
    /// Read.
    Read,
    /// Write.
    Write,
    /// Flush: make all completed writes durable.
    Flush,
    /// Discard: release space.
    Discard,
    /// Write zeroes.
    WriteZeroes,
}

/// One request, which its owner fills in and reuses.
#[derive(Debug)]
pub(crate) struct Request {
    /// The operation.
    pub(crate) operation: IoOperation,
    /// The ranges in bytes: one for a read or write, as long as the buffers; several for a discard or zeroes; none for
    /// a flush.
    pub(crate) ranges: Vec<Range<u64>>,
    /// The buffers to read into or to write from.
    pub(crate) buffers: GuestBuffers,
    /// Whether the space of zeroed ranges may be released.
    pub(crate) unmap: bool,
    /// Whether it must be on stable storage before it completes.
    pub(crate) durable: bool,
    /// Identifies the request to its owner.
    pub(crate) token: usize,
    /// The result, valid once the request has completed.
    pub(crate) outcome: Result<(), Failure>,
}

/// The part of a request that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) operation: IoOperation,
    /// The range in bytes; empty for a flush.
    pub(crate) range: Range<u64>,
    pub(crate) error: io::Error,
}

impl Request {
    /// An empty request with buffers in `memory`.
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

    /// Resets the request for reuse.
    pub(crate) fn clear(&mut self) {
        self.operation = IoOperation::Flush;
        self.ranges.clear();
        self.buffers.clear();
        (self.unmap, self.durable) = (false, false);
        self.outcome = Ok(());
    }

    /// The range of a read or write that is not durable, so that nothing else is to be done.
    pub(super) fn transfer(&self) -> Option<&Range<u64>> {
        let plain = matches!(self.operation, IoOperation::Read | IoOperation::Write) && !self.durable;
        self.ranges.first().filter(|range| plain && !range.is_empty())
    }

    /// Executes the request with blocking calls.
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
