//! Restarts `passt` when it ends.

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
/// The first delay before a restart. Each further delay is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// After running for this long, a new end is unrelated to earlier ones, and the delay starts over.
const STEADY: Duration = Duration::from_secs(60);

/// Runs `passt` and restarts it with a growing delay whenever it ends. Dropping this stops it.
#[derive(Debug)]
pub(crate) struct Supervisor {
    process: Process,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// Readable when `passt` should stop.
    stop: OwnedFd,
    /// The socket of a restarted `passt`, until it is taken.
    fresh: Mutex<Option<UnixStream>>,
}

impl Supervisor {
    /// Starts `passt` for a guest with the MAC address `mac`, and returns its socket.
    ///
    /// # Errors
    /// It is not installed, or exits with an error.
    pub(crate) fn start(command: PasstCommand, mac: MacAddress) -> Result<(Self, UnixStream)> {
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::io("cannot create the event that ends passt", errno.into()))?;
        let shared = Arc::new(Shared { stop, fresh: Mutex::new(None) });
        let (first, socket) = Passt::start(&command, mac, shared.stop.as_fd())?;
        let seen = Arc::clone(&shared);
        let work = move || seen.keep_running(first, &command, mac);
        // Unwinding has stopped passt, so the guest's link is down.
        let panicked =
            |panic: thread::Panicked| tracing::error!(message = panic.message, "the thread of passt panicked");
        let thread = thread::spawn("passt", STACK, Span::current(), work, panicked)
            .map_err(|e| Error::io("cannot start the thread that watches passt", e))?;
        Ok((Self { process: Process::current(), shared, thread: Some(thread) }, socket))
    }

    /// The socket of a restarted `passt`; each is returned once.
    pub(crate) fn reconnect(&self) -> Option<OwnedFd> {
        lock(&self.shared.fresh).take().map(OwnedFd::from)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if !self.process.is_current() {
            return;
        }
        // Fails only if the counter is full, which suffices.
        let _ = rustix::io::write(&self.shared.stop, &1_u64.to_ne_bytes());
        lock(&self.shared.fresh).take();
        if let Some(thread) = self.thread.take() {
            // The thread catches panics itself.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Watches `passt` and restarts it when it has ended, until it should stop.
    fn keep_running(&self, first: Passt, command: &PasstCommand, mac: MacAddress) {
        let (mut running, mut pause) = (Some(first), FIRST_PAUSE);
        loop {
            if let Some(mut passt) = running.take() {
                let began = Instant::now();
                let Some(ending) = passt.wait(self.stop.as_fd()) else { return };
                // That socket is closed.
                lock(&self.fresh).take();
                if began.elapsed() >= STEADY {
                    pause = FIRST_PAUSE;
                }
                tracing::warn!("passt has ended ({ending}) and will be restarted in {pause:?}: {}", passt.last_lines());
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
                Err(error) => tracing::warn!(%error, "cannot restart passt; trying again in {pause:?}"),
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
                // Interrupted, or temporarily out of memory.
                _ => std::thread::yield_now(),
            }
        }
    }
}
