//! Ctrl-C: the first ends the work and removes partial results, the second ends the program immediately.

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{SigId, flag, low_level};

use crate::failure::{Failure, Result};

/// Handles Ctrl-C, SIGTERM, and SIGHUP, which comes when the terminal is closed.
#[derive(Debug)]
pub struct Interrupt {
    flag: Arc<AtomicBool>,
    /// Becomes readable when the flag is set, for threads that also wait for something else.
    wakeup: UnixStream,
    /// The handlers that end the program on the second signal.
    endings: Vec<SigId>,
}

impl Interrupt {
    /// Installs the handlers.
    pub fn listen() -> Result<Self> {
        let cannot = |error| Failure::new("cannot listen for Ctrl-C", error);
        let flag = Arc::new(AtomicBool::new(false));
        let (wakeup, ring) = UnixStream::pair().map_err(cannot)?;
        let mut endings = Vec::new();
        let hangup = (!is_ignored(SIGHUP)).then_some(SIGHUP);
        for signal in [SIGINT, SIGTERM].into_iter().chain(hangup) {
            // In this order, because the first signal must find the flag unset.
            endings.push(flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag)).map_err(cannot)?);
            flag::register(signal, Arc::clone(&flag)).map_err(cannot)?;
            low_level::pipe::register(signal, ring.try_clone().map_err(cannot)?).map_err(cannot)?;
        }
        Ok(Self { flag, wakeup, endings })
    }

    /// Whether the work should end.
    pub fn came(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// Signals no longer end the program; each must be taken with [`take`](Self::take).
    pub fn only_count(&self) {
        for ending in &self.endings {
            low_level::unregister(*ending);
        }
    }

    /// Whether a signal came since the last call.
    pub fn take(&self) -> bool {
        self.flag.swap(false, Ordering::Relaxed)
    }

    /// Waits until a descriptor is readable. Fails if the work should end.
    pub fn wait_readable(&self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let mut fds = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN), PollFd::new(&self.wakeup, PollFlags::IN)];
        loop {
            if self.came() {
                return Err(io::Error::other("interrupted"));
            }
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) if fds[0].revents().is_empty() => {}
                Ok(_) => return Ok(()),
            }
        }
    }
}

/// Whether a signal was ignored when the program started: `nohup` does that, and wants it to stay so.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
