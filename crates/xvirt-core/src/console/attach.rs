//! The thread behind an attachment, and its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use super::pump::Pump;
use super::shared::{Shared, Watcher};
use crate::{Error, Result};

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
        let thread = Builder::new().name("xvirt-console".into()).spawn(move || pump.run()).map_err(|source| {
            Error::io("cannot start a thread for the console", source)
                .remedy("raise the limit of processes: ulimit -u, or TasksMax= of the service")
        })?;
        Ok(Self { shared, watcher, stop, thread: Some(thread) })
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        {
            // In a child of the process that made it, the thread is the parent's.
            let Ok(_state) = self.shared.lock() else { return };
            self.stop.store(true, Ordering::Relaxed);
            self.watcher.raise();
        }
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported when it happened, and there is nothing left to end.
            let _ = thread.join();
        }
    }
}
