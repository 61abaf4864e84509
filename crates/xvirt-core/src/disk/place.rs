//! Where the bytes of a disk are in a file.

use std::fmt;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::file::ImageFile;
use crate::memory::GuestBuffers;
use crate::sync::lock;

/// How many may have their reasons to know of one request: an image, and what keeps its old contents.
const MAX_FLIGHTS: usize = 2;

/// Where a range of a disk lies in a file, in one piece.
///
/// The range stays there until this is dropped. Only the disks of this crate make places; a backend that wraps one of
/// them may pass its places on.
#[derive(Debug)]
pub struct Place {
    file: Arc<ImageFile>,
    offset: u64,
    flights: [Option<Flight>; MAX_FLIGHTS],
}

impl Place {
    /// At `offset` of `file`.
    pub(super) fn new(file: Arc<ImageFile>, offset: u64) -> Self {
        Self { file, offset, flights: [None, None] }
    }

    /// Counts what uses this place among `flights`; `None` if too many count already.
    pub(super) fn counted(mut self, flights: &Arc<Flights>) -> Option<Self> {
        let free = self.flights.iter_mut().find(|flight| flight.is_none())?;
        *free = Some(Flights::enter(flights));
        Some(self)
    }

    /// Where in the file.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the kernel would hand a write to a thread of its own, one after the other for each file.
    pub(super) fn writing_waits(&self) -> bool {
        self.file.writing_waits()
    }

    /// The descriptor for what moves these buffers; `None` if they have to be copied for it.
    pub(super) fn descriptor(&self, buffers: &GuestBuffers) -> Option<RawFd> {
        self.file.descriptor(buffers.pieces(), self.offset)
    }
}

/// Counts requests in flight that nobody waits for by holding a lock.
#[derive(Default)]
pub(super) struct Flights {
    count: AtomicUsize,
    /// Locked by who waits, until there is none; and by who is the last to leave.
    waiting: Mutex<()>,
    landed: Condvar,
}

impl Flights {
    /// One more. The caller makes sure, by a lock of its own, that nobody waits.
    fn enter(flights: &Arc<Self>) -> Flight {
        flights.count.fetch_add(1, Ordering::Relaxed);
        Flight(Arc::clone(flights))
    }

    /// Returns when there is none. The caller makes sure, by a lock of its own, that no new one comes.
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
            // With the lock, so that it is not missed by who has just counted and is about to wait.
            let _waiting = lock(&self.0.waiting);
            self.0.landed.notify_all();
        }
    }
}
