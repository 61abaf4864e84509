//! Keeps `passt` running.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use tracing::Span;

use super::PasstCommand;
use super::process::{Passt, readable};
use crate::net::MacAddress;
use crate::process::Process;
use crate::sync::{Arc, Mutex, lock};
use crate::{Error, Result, thread};

const STACK: usize = 256 << 10;
/// How long is waited until it is started again, at first. Each time the pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Having run so long, it ended for a new reason.
const STEADY: Duration = Duration::from_secs(60);

/// A `passt` that is started again, after a growing pause, whenever it ends. Dropping this ends it.
#[derive(Debug)]
pub(crate) struct Supervisor {
    process: Process,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// Readable when `passt` is to end.
    stop: OwnedFd,
    /// Leads to a `passt` that was started again, until somebody takes it.
    fresh: Mutex<Option<UnixStream>>,
}

impl Supervisor {
    /// Starts `passt` for a guest with the address `mac`, and gives the socket that leads to it.
    ///
    /// # Errors
    /// It is not installed, or it refuses.
    pub(crate) fn start(command: PasstCommand, mac: MacAddress) -> Result<(Self, UnixStream)> {
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::io("cannot create the event that ends passt", errno.into()))?;
        let shared = Arc::new(Shared { stop, fresh: Mutex::new(None) });
        let (first, socket) = Passt::start(&command, mac, shared.stop.as_fd())?;
        let seen = Arc::clone(&shared);
        let work = move || seen.keep_running(first, &command, mac);
        // Unwinding has ended it, and so the guest sees no link any more.
        let panicked =
            |panic: thread::Panicked| tracing::error!(message = panic.message, "the thread of passt panicked");
        let thread = thread::spawn("passt", STACK, Span::current(), work, panicked)
            .map_err(|e| Error::io("cannot start the thread that watches passt", e))?;
        Ok((Self { process: Process::current(), shared, thread: Some(thread) }, socket))
    }

    /// The socket that leads to a `passt` that was started again; each is given once.
    pub(crate) fn reconnect(&self) -> Option<OwnedFd> {
        lock(&self.shared.fresh).take().map(OwnedFd::from)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if !self.process.is_current() {
            return;
        }
        // Only fails when the counter is full, which will do.
        let _ = rustix::io::write(&self.shared.stop, &1_u64.to_ne_bytes());
        lock(&self.shared.fresh).take();
        if let Some(thread) = self.thread.take() {
            // What panics on it is caught there.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Watches `passt`, and starts it again when it has ended, until told to stop.
    fn keep_running(&self, first: Passt, command: &PasstCommand, mac: MacAddress) {
        let (mut running, mut pause) = (Some(first), FIRST_PAUSE);
        loop {
            if let Some(mut passt) = running.take() {
                let began = Instant::now();
                let Some(ending) = passt.wait(self.stop.as_fd()) else { return };
                // It leads nowhere any more.
                lock(&self.fresh).take();
                if began.elapsed() >= STEADY {
                    pause = FIRST_PAUSE;
                }
                tracing::warn!("passt has ended ({ending}), and is started again in {pause:?}: {}", passt.last_lines());
            }
            if self.stopped_within(pause) {
                return;
            }
            pause = MAX_PAUSE.min(pause * 2);
            match Passt::start(command, mac, self.stop.as_fd()) {
                Ok((passt, socket)) => {
                    *lock(&self.fresh) = Some(socket);
                    running = Some(passt);
                }
                Err(error) => tracing::warn!(%error, "passt cannot be started again, and is tried in {pause:?}"),
            }
        }
    }

    fn stopped_within(&self, pause: Duration) -> bool {
        let end = Instant::now() + pause;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match readable([self.stop.as_fd()], Some(left)) {
                Ok([true]) => return true,
                _ if left.is_zero() => return false,
                // Interrupted, or out of memory for a moment.
                _ => std::thread::yield_now(),
            }
        }
    }
}
