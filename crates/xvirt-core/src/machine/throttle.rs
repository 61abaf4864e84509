//! Slows the vCPUs of a machine down, so that its memory can be copied faster than they write it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::Span;

use super::Machine;
use crate::sync::lock;
use crate::{Error, Result, thread};

/// The vCPUs are stopped for a part of each period, in which they hardly notice other work of the host either.
const PERIOD: Duration = Duration::from_millis(20);
const STACK_SIZE: usize = 128 << 10;

/// Stops the vCPUs for a part of the time, until it is dropped.
#[derive(Debug)]
pub(crate) struct Throttle {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// `None` is the end.
    percent: Mutex<Option<u32>>,
    changed: Condvar,
}

impl Throttle {
    /// Stops the vCPUs for `percent` of the time, at most 99.
    pub(crate) fn start(machine: Arc<Machine>, percent: u32) -> Result<Self> {
        let shared = Arc::new(Shared { percent: Mutex::new(Some(percent)), changed: Condvar::new() });
        let work = {
            let shared = Arc::clone(&shared);
            move || shared.hold_and_release(&machine)
        };
        // The vCPUs run on then.
        let panicked =
            |panic: thread::Panicked| tracing::error!("the thread '{}' has panicked: {}", panic.thread, panic.message);
        let thread = thread::spawn("throttle", STACK_SIZE, Span::current(), work, panicked)
            .map_err(|e| Error::io("cannot start the thread that slows the vCPUs down", e))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Changes the share of time.
    pub(crate) fn set(&self, percent: u32) {
        *lock(&self.shared.percent) = Some(percent);
        self.shared.changed.notify_all();
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        *lock(&self.shared.percent) = None;
        self.shared.changed.notify_all();
        // The thread catches panics itself.
        self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn hold_and_release(&self, machine: &Machine) {
        let mut held = false;
        while let Some(percent) = self.percent() {
            held = !held && percent > 0;
            let part = if held {
                machine.vcpus.hold();
                percent
            } else {
                machine.vcpus.release();
                100 - percent
            };
            self.wait(PERIOD * part / 100);
        }
        machine.vcpus.release();
    }

    fn percent(&self) -> Option<u32> {
        lock(&self.percent).map(|percent| percent.min(99))
    }

    /// Waits this long, or until the end.
    fn wait(&self, time: Duration) {
        let percent = lock(&self.percent);
        let waited = self.changed.wait_timeout_while(percent, time, |percent| percent.is_some());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}
