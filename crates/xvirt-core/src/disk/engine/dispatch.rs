//! The I/O engine of one disk.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags};

use super::choice::IoEngine;
use super::pool::{self, Pool};
use super::request::{IoOperation, Request};
use super::ring::Ring;
use crate::disk::backend::BlockBackend;
use crate::error::Lack;
use crate::{Error, ErrorKind, Result};

/// Executes many requests of one disk at once. Only one thread uses it at a time.
#[derive(Debug)]
pub(crate) struct Engine {
    backend: Arc<dyn BlockBackend>,
    ring: Option<Ring>,
    pool: Pool,
    /// Becomes readable when the ring or the pool does.
    events: OwnedFd,
    /// Requests for the pool that were not submitted yet.
    staged: Vec<Box<Request>>,
    /// Completed requests that were not reaped yet.
    ended: VecDeque<Box<Request>>,
    in_flight: usize,
}

impl Engine {
    /// Creates an engine for `backend`.
    ///
    /// # Errors
    /// [`HostUnsupported`](ErrorKind::HostUnsupported) if `choice` is io_uring and the host refuses it;
    /// [`OutOfDescriptors`](ErrorKind::OutOfDescriptors).
    pub(crate) fn new(backend: Arc<dyn BlockBackend>, choice: IoEngine) -> Result<Self> {
        let ring = match (choice, (choice != IoEngine::Threads).then(Ring::new)) {
            (_, Some(Ok(ring))) => Some(ring),
            // Threads would lack the same resources.
            (_, Some(Err(error))) if Lack::of(&error).is_some() => {
                return Err(Error::io("cannot create the io_uring of a disk", error));
            }
            (IoEngine::IoUring, Some(Err(error))) => {
                return Err(Error::new(ErrorKind::HostUnsupported, "the host refuses io_uring for a disk")
                    .because(error)
                    .with_remedy("allow it (sysctl kernel.io_uring_disabled=0, and in the seccomp filter of a container), or choose auto or threads as the engine of the disk"));
            }
            (_, Some(Err(error))) => {
                tracing::info!(%error, "the host refuses io_uring; a disk uses threads");
                None
            }
            (_, None) => None,
        };
        let pool = Pool::new(Arc::clone(&backend))?;
        let failed = |error| Error::io("cannot create the events of a disk's engine", error);
        let events = epoll::create(CreateFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
        // SAFETY: the pool's event lives longer than this borrow.
        let event = unsafe { BorrowedFd::borrow_raw(pool.event().as_raw_fd()) };
        let watched = [Some(event), ring.as_ref().map(AsFd::as_fd)];
        for (number, descriptor) in watched.into_iter().flatten().enumerate() {
            epoll::add(&events, descriptor, EventData::new_u64(number as u64), EventFlags::IN)
                .map_err(|error| failed(error.into()))?;
        }
        let (staged, ended) = (Vec::new(), VecDeque::new());
        Ok(Self { backend, ring, pool, events, staged, ended, in_flight: 0 })
    }

    /// The kind of engine, never [`Auto`](IoEngine::Auto).
    pub(crate) fn kind(&self) -> IoEngine {
        if self.ring.as_ref().is_some_and(Ring::works) { IoEngine::IoUring } else { IoEngine::Threads }
    }

    /// Becomes readable when there is a request to reap.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.events.as_raw_fd()
    }

    /// The number of requests that were added and not reaped.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Takes a request. It starts with the next [`submit`](Self::submit) at the latest.
    pub(crate) fn add(&mut self, request: Box<Request>) {
        self.in_flight += 1;
        if let Some(ring) = self.ring.as_mut().filter(|ring| ring.has_room())
            && let Some(range) = request.transfer()
            && let write = request.operation == IoOperation::Write
            && let Some(place) = self.backend.place(range.start, range.end - range.start, write)
            && let Some(descriptor) = place.descriptor(&request.buffers)
        {
            ring.add(request, place, descriptor);
        } else {
            self.staged.push(request);
        }
    }

    /// Starts all added requests.
    pub(crate) fn submit(&mut self) {
        if let Some(ring) = &mut self.ring {
            ring.submit(&mut self.staged);
        }
        self.start_staged();
    }

    /// The next completed request, in order of completion.
    pub(crate) fn reap(&mut self) -> Option<Box<Request>> {
        if self.ended.is_empty() {
            self.collect();
        }
        let request = self.ended.pop_front()?;
        self.in_flight -= 1;
        Some(request)
    }

    /// Waits until there is a request to reap, if any is in flight.
    pub(crate) fn wait(&mut self) {
        self.collect();
        while self.ended.is_empty() && self.in_flight > 0 {
            // May be interrupted by the kernel's completion work on this thread.
            let _ = rustix::event::poll(&mut [PollFd::new(&self.events, PollFlags::IN)], None);
            self.collect();
        }
    }

    /// Collects completed requests, and restarts those that the ring could not complete.
    fn collect(&mut self) {
        if let Some(ring) = &mut self.ring {
            ring.reap(&mut self.ended, &mut self.staged);
        }
        while let Some(request) = self.pool.reap() {
            self.ended.push_back(request);
        }
        self.start_staged();
    }

    fn start_staged(&mut self) {
        self.pool.start(&mut self.staged);
        if self.staged.is_empty() {
            return;
        }
        // No thread can be started, so this thread calls the backend, which may wait for requests in the ring. Drain
        // the ring first.
        if let Some(ring) = &mut self.ring {
            ring.drain(&mut self.ended, &mut self.staged);
        }
        for mut request in self.staged.drain(..) {
            pool::perform(&mut request, &*self.backend);
            self.ended.push_back(request);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.submit();
        while self.in_flight > 0 {
            self.wait();
            while self.reap().is_some() {}
        }
    }
}
