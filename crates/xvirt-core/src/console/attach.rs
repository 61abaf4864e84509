//! The thread that serves an attachment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use tracing::Span;

use super::pump::Pump;
use super::shared::{Shared, Watcher};
use crate::{Error, Result, thread};

/// It only copies bytes; the default of 8 MiB would waste address space.
const STACK: usize = 256 << 10;

/// A running pump: dropping it stops and joins its thread.
#[derive(Debug)]
pub(super) struct Attachment {
    shared: Arc<Shared>,
    watcher: Arc<Watcher>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Attachment {
    pub(super) fn start(mut pump: Pump) -> Result<Self> {
        let (shared, watcher, stop) = pump.controls();
        // Nothing waits for a pump, and its peers see end of file when it ends.
        let thread =
            thread::spawn("xvirt-console", STACK, Span::none(), move || pump.run(), drop).map_err(|source| {
                Error::io("cannot start a thread for the console", source)
                    .with_remedy("raise the limit of processes: ulimit -u, or TasksMax= of the service")
            })?;
        Ok(Self { shared, watcher, stop, thread: Some(thread) })
    }
}

impl Attachment {
    /// Whether its thread has ended by itself.
    pub(super) fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        {
            // In a forked child there is no such thread: it is the parent's.
            let Ok(_state) = self.shared.lock() else { return };
            self.stop.store(true, Ordering::Relaxed);
            self.watcher.raise();
        }
        if let Some(thread) = self.thread.take() {
            // Panics of the thread are caught on it, so there is no result to report.
            let _ = thread.join();
        }
    }
}
