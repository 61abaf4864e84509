//! The location of disk contents in a file.

use std::fmt;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::file::ImageFile;
use crate::memory::GuestBuffers;
use crate::sync::lock;

/// The most trackers of one request: an image, and a snapshot that preserves its old contents.
const MAX_FLIGHTS: usize = 2;

/// The location of a range of a disk in a file, in one piece.
///
/// The range stays there until this is dropped. Only the disks of this crate create places; a backend that wraps one
/// may pass them on.
#[derive(Debug)]
pub struct Place {
    file: Arc<ImageFile>,
    offset: u64,
    flights: [Option<Flight>; MAX_FLIGHTS],
}

impl Place {
    /// The location at `offset` of `file`.
    pub(super) fn new(file: Arc<ImageFile>, offset: u64) -> Self {
        Self { file, offset, flights: [None, None] }
    }

    /// Counts the use of this place in `flights`; `None` if it has too many trackers.
    pub(super) fn counted(mut self, flights: &Arc<Flights>) -> Option<Self> {
        let free = self.flights.iter_mut().find(|flight| flight.is_none())?;
        *free = Some(Flights::enter(flights));
        Some(self)
    }

    /// The offset in the file.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the kernel would execute writes on a thread of its own, one at a time for each file.
    pub(super) fn writing_waits(&self) -> bool {
        self.file.writing_waits()
    }

    /// The descriptor that transfers these buffers; `None` if they must be copied.
    pub(super) fn descriptor(&self, buffers: &GuestBuffers) -> Option<RawFd> {
        self.file.descriptor(buffers.pieces(), self.offset)
    }
}

/// Counts requests in flight that hold no lock.
#[derive(Default)]
pub(super) struct Flights {
    count: AtomicUsize,
    /// Locked while waiting for zero, and by the last request to finish.
    waiting: Mutex<()>,
    landed: Condvar,
}

impl Flights {
    /// Adds one. The caller's own lock must ensure that no thread waits.
    fn enter(flights: &Arc<Self>) -> Flight {
        flights.count.fetch_add(1, Ordering::Relaxed);
        Flight(Arc::clone(flights))
    }

    /// Waits until there are none. The caller's own lock must ensure that none is added.
    pub(super) fn wait(&self) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut waiting = lock(&self.waiting);
        while self.count.load(Ordering::Acquire) > 0 {
            waiting = self.landed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Flights").field(&self.count).finish()
    }
}

/// One request in flight.
#[derive(Debug)]
struct Flight(Arc<Flights>);

impl Drop for Flight {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Locked, so that a thread that has read the count and is about to wait does not miss this.
            let _waiting = lock(&self.0.waiting);
            self.0.landed.notify_all();
        }
    }
}
