//! Threads that execute requests with blocking calls to the backend.

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

/// The most threads of one disk, enough to keep a disk with a command queue busy.
pub(super) const MAX_THREADS: usize = 8;
/// How long an idle thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(5);
/// The same stack size as a device's worker.
const STACK: usize = 512 << 10;

/// The threads of a disk, started on demand. Dropping it waits for requests in progress.
#[derive(Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Completed requests that were not reaped yet.
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

    /// Becomes readable when there is a request to reap.
    pub(super) fn event(&self) -> &EventFd {
        &self.shared.wake
    }

    /// Starts `requests`. If no thread can be started, they stay in the list, and the caller must execute them.
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
            // The thread catches panics of requests itself.
            match thread::spawn("disk-io", STACK, Span::none(), move || shared.serve(), drop) {
                Ok(thread) => {
                    state.threads += 1;
                    self.threads.retain(|thread| !thread.is_finished());
                    self.threads.push(thread);
                }
                Err(error) => {
                    let threads = state.threads;
                    // A panic of a log subscriber must not leave requests unserved.
                    let _ = caught(|| tracing::warn!(%error, threads, "cannot start another I/O thread for a disk"));
                    break;
                }
            }
        }
        if state.threads == 0 {
            requests.extend(state.waiting.drain(..));
        }
        // Unlock first, because the threads lock it at once.
        drop(state);
        for _ in 0..woken {
            self.shared.work.notify_one();
        }
    }

    /// The next completed request.
    pub(super) fn reap(&mut self) -> Option<Box<Request>> {
        if self.ended.is_empty() && !lock(&self.shared.finished).is_empty() {
            // Read before taking them, so that later completions signal again.
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
            // The thread catches panics itself.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// The main loop of one thread.
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
            // Fails only if the counter is full, which signals as well.
            let _ = self.wake.write(1);
        }
    }
}

/// Executes a request. A panic of the backend fails only this request.
pub(super) fn perform(request: &mut Request, backend: &dyn BlockBackend) {
    if let Err(Panicked { message, .. }) = caught(|| request.perform(backend)) {
        // The log subscriber may panic as well.
        let _ = caught(|| tracing::error!(?backend, message, "the backend of a disk panicked"));
        let range = request.ranges.first().cloned().unwrap_or_default();
        let error = io::Error::other(format!("the backend of the disk panicked: {message}"));
        request.outcome = Err(Failure { operation: request.operation, range, error });
    }
}
