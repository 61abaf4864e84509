//! Threads that do requests with blocking calls to the backend.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::Span;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::request::{Failure, Request};
use crate::disk::backend::BlockBackend;
use crate::sync::lock;
use crate::thread::{self, Panicked, caught};
use crate::{Error, Result};

/// Threads of one disk: enough to keep a disk busy that does several things at once.
pub(super) const MAX_THREADS: usize = 8;
/// How long a thread waits for more before it ends.
const IDLE: Duration = Duration::from_secs(5);
/// As the stack of a device's worker.
const STACK: usize = 512 << 10;

/// The threads of a disk, of which there are as many as there is work for. Dropping it waits for what is being done.
#[derive(Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// What has ended and was not asked for yet.
    ended: Vec<Box<Request>>,
}

#[derive(Debug)]
struct Shared {
    backend: Arc<dyn BlockBackend>,
    state: Mutex<State>,
    work: Condvar,
    finished: Mutex<Vec<Box<Request>>>,
    wake: EventFd,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Box<Request>>,
    threads: usize,
    idle: usize,
    stopping: bool,
}

impl Pool {
    pub(super) fn new(backend: Arc<dyn BlockBackend>) -> Result<Self> {
        let wake = EventFd::new(EFD_NONBLOCK | libc::EFD_CLOEXEC)
            .map_err(|error| Error::io("cannot create the event of a disk's threads", error))?;
        let shared =
            Shared { backend, state: Mutex::default(), work: Condvar::new(), finished: Mutex::default(), wake };
        Ok(Self { shared: Arc::new(shared), threads: Vec::new(), ended: Vec::new() })
    }

    /// Readable when there is something to reap.
    pub(super) fn event(&self) -> &EventFd {
        &self.shared.wake
    }

    /// Starts `requests`. What it leaves there can be done by nobody but the caller.
    pub(super) fn start(&mut self, requests: &mut Vec<Box<Request>>) {
        if requests.is_empty() {
            return;
        }
        let mut state = lock(&self.shared.state);
        state.waiting.extend(requests.drain(..));
        let woken = state.waiting.len().min(state.idle);
        let wanted = (state.waiting.len() - woken).min(MAX_THREADS.saturating_sub(state.threads));
        for _ in 0..wanted {
            let shared = Arc::clone(&self.shared);
            // What panics in a request is caught there.
            match thread::spawn("disk-io", STACK, Span::none(), move || shared.serve(), drop) {
                Ok(thread) => {
                    state.threads += 1;
                    self.threads.retain(|thread| !thread.is_finished());
                    self.threads.push(thread);
                }
                Err(error) => {
                    let threads = state.threads;
                    // A log subscriber that panics must not leave requests that nobody does.
                    let _ = caught(|| tracing::warn!(%error, threads, "a disk gets no more threads"));
                    break;
                }
            }
        }
        if state.threads == 0 {
            requests.extend(state.waiting.drain(..));
        }
        // Without the lock, which is the first thing that they take.
        drop(state);
        for _ in 0..woken {
            self.shared.work.notify_one();
        }
    }

    /// A request that has ended.
    pub(super) fn reap(&mut self) -> Option<Box<Request>> {
        if self.ended.is_empty() && !lock(&self.shared.finished).is_empty() {
            // Before they are taken: what ends after that rings again.
            let _ = self.shared.wake.read();
            std::mem::swap(&mut self.ended, &mut lock(&self.shared.finished));
        }
        self.ended.pop()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.shared.state).stopping = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // What panics on it is caught there.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// The life of one thread.
    fn serve(&self) {
        let mut state = lock(&self.state);
        loop {
            if let Some(mut request) = state.waiting.pop_front() {
                drop(state);
                perform(&mut request, &*self.backend);
                self.finish(request);
                state = lock(&self.state);
                continue;
            }
            if state.stopping {
                break;
            }
            state.idle += 1;
            let (woken, limit) = self.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if limit.timed_out() && state.waiting.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }

    fn finish(&self, request: Box<Request>) {
        let mut finished = lock(&self.finished);
        finished.push(request);
        let first = finished.len() == 1;
        drop(finished);
        if first {
            // Only fails when the counter is full, which rings as well.
            let _ = self.wake.write(1);
        }
    }
}

/// Does a request. A backend that panics fails it, and no other.
pub(super) fn perform(request: &mut Request, backend: &dyn BlockBackend) {
    if let Err(Panicked { message, .. }) = caught(|| request.perform(backend)) {
        // The log subscriber may panic, too.
        let _ = caught(|| tracing::error!(?backend, message, "the backend of a disk panicked"));
        let range = request.ranges.first().cloned().unwrap_or_default();
        let error = io::Error::other(format!("the backend of the disk panicked: {message}"));
        request.outcome = Err(Failure { operation: request.operation, range, error });
    }
}
