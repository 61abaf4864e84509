//! The counters of a disk's requests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::disk::IoOperation;
use crate::latency::{Latencies, LatencyCounter};

/// The counters of one disk; its handler updates them, and any thread may read them.
#[derive(Debug, Default)]
pub(crate) struct BlockCounters {
    read: OperationCounters,
    write: OperationCounters,
    flush: OperationCounters,
    discard: OperationCounters,
    write_zeroes: OperationCounters,
}

#[derive(Debug, Default)]
pub(crate) struct OperationCounters {
    done: AtomicU64,
    bytes: AtomicU64,
    failed: AtomicU64,
    latency: LatencyCounter,
}

/// The counter values of one kind of request.
#[derive(Clone, Debug)]
pub(crate) struct OperationCounts {
    pub(crate) done: u64,
    pub(crate) bytes: u64,
    pub(crate) failed: u64,
    pub(crate) latency: Latencies,
}

/// A request in flight, created when it is popped from its queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlight(Instant);

impl InFlight {
    pub(crate) fn begin() -> Self {
        Self(Instant::now())
    }
}

impl BlockCounters {
    /// Counts a completed request: `Ok` with the bytes transferred, or `Err` if it failed.
    pub(crate) fn end(&self, request: InFlight, operation: IoOperation, result: Result<u64, ()>) {
        let counters = self.of(operation);
        counters.latency.count(request.0.elapsed());
        match result {
            Ok(bytes) => {
                counters.done.fetch_add(1, Ordering::Relaxed);
                counters.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            Err(()) => {
                counters.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn read(&self, operation: IoOperation) -> OperationCounts {
        let counters = self.of(operation);
        OperationCounts {
            done: counters.done.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
            failed: counters.failed.load(Ordering::Relaxed),
            latency: counters.latency.read(),
        }
    }

    fn of(&self, operation: IoOperation) -> &OperationCounters {
        match operation {
            IoOperation::Read => &self.read,
            IoOperation::Write => &self.write,
            IoOperation::Flush => &self.flush,
            IoOperation::Discard => &self.discard,
            IoOperation::WriteZeroes => &self.write_zeroes,
        }
    }
}
