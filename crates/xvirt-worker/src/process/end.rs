//! The end of the worker, and the record of it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use super::{lock, signals};
use crate::{Cause, ExitRecord};

/// Why and whether the worker ends. The first cause counts, unless a fault of the program follows.
#[derive(Debug)]
pub(super) struct End {
    record: File,
    state: Mutex<State>,
    changed: Condvar,
    /// Readable once the worker ends.
    event: OwnedFd,
}

#[derive(Debug, Default)]
struct State {
    vm: Option<String>,
    intended: Option<Cause>,
    ending: bool,
    /// How many threads serve connections.
    serving: usize,
    /// How many of them are consoles and streams of events.
    streams: usize,
}

impl End {
    pub(super) fn new(record: File) -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Self { record, state: Mutex::default(), changed: Condvar::new(), event })
    }

    /// Sets the UUID of the VM, for the record.
    pub(super) fn set_vm(&self, uuid: String) {
        lock(&self.state).vm = Some(uuid);
    }

    /// Names the VM in the records of fatal signals.
    pub(super) fn record_signals(&self, uuid: &str) {
        if let Err(error) = signals::record(&self.record, Some(uuid)) {
            tracing::warn!(%error, "fatal signals will not be recorded with the VM");
        }
    }

    /// Sets the reason of an end that a request brings about by cutting the power.
    pub(super) fn intend(&self, cause: Cause) {
        lock(&self.state).intended = Some(cause);
    }

    /// Whether a request ends the worker, as soon as those before it are over.
    pub(super) fn is_intended(&self) -> bool {
        lock(&self.state).intended.is_some()
    }

    /// Ends the worker for this reason, unless it is ending already. If the power was cut, the intended reason counts. The
    /// record is on stable storage when this returns.
    pub(super) fn because(&self, cause: Cause) {
        let mut state = lock(&self.state);
        if state.ending {
            return;
        }
        let cause = match cause {
            Cause::HardShutdown => state.intended.take().unwrap_or(cause),
            other => other,
        };
        tracing::info!(?cause, "the worker ends");
        self.write(&state, cause);
        state.ending = true;
        // Fails only if it is readable already.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    /// Records a panic, after which the process may go on or not.
    pub(super) fn panicked(&self, message: String) {
        // The thread that panics may hold the lock.
        if let Ok(state) = self.state.try_lock()
            && !state.ending
        {
            self.write(&state, Cause::Panicked { message });
        }
    }

    fn write(&self, state: &State, cause: Cause) {
        if let Err(error) = ExitRecord::new(state.vm.clone(), cause).write(&self.record) {
            tracing::error!(%error, "cannot write the exit record");
        }
    }

    /// Whether the worker is ending.
    pub(super) fn is_near(&self) -> bool {
        lock(&self.state).ending
    }

    /// Counts a thread that serves a connection, if there may be one more.
    pub(super) fn begin_serving(&self, most: usize) -> bool {
        let mut state = lock(&self.state);
        let room = state.serving < most;
        state.serving += usize::from(room);
        room
    }

    /// Counts one less.
    pub(super) fn end_serving(&self) {
        let mut state = lock(&self.state);
        state.serving = state.serving.saturating_sub(1);
        self.changed.notify_all();
    }

    /// Counts a console or a stream of events, if there may be one more.
    pub(super) fn begin_stream(&self, most: usize) -> bool {
        let mut state = lock(&self.state);
        let room = state.streams < most;
        state.streams += usize::from(room);
        room
    }

    /// Counts one less.
    pub(super) fn end_stream(&self) {
        let mut state = lock(&self.state);
        state.streams = state.streams.saturating_sub(1);
    }

    /// Waits until no thread serves a connection, at most `limit`.
    pub(super) fn wait_served(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut state = lock(&self.state);
        while state.serving > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
