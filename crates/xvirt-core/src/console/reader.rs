//! Readers of a console.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::shared::{Shared, State, Watcher};
use crate::wait::{Wait, cancelled};
use crate::{Error, ErrorKind, Result};

/// How much of the output `wait_for` keeps.
const WAIT_TEXT: usize = 1 << 20;

/// How much of the last output an error quotes.
const QUOTED: usize = 240;

/// Reads a console's output from its own position; other readers are not affected.
///
/// [`Read`](io::Read) blocks until there is output; it returns 0 once the console is closed and all output was read.
///
/// Threads that are to share one position share it behind a lock, such as a `Mutex`. A call that waits with the lock held
/// can be [interrupted](crate::progress::interruptible); in an event loop, [`event_fd`](Self::event_fd) and
/// [`try_read`](Self::try_read) never wait.
pub struct ConsoleReader {
    shared: Arc<Shared>,
    position: u64,
    /// Bytes skipped so far because they were overwritten.
    skipped: u64,
    watcher: OnceLock<Arc<Watcher>>,
}

impl ConsoleReader {
    pub(super) fn new(shared: Arc<Shared>, position: u64) -> Self {
        Self { shared, position, skipped: 0, watcher: OnceLock::new() }
    }

    /// How many bytes this reader has missed because newer output overwrote them.
    pub fn lost(&self) -> u64 {
        self.skipped + self.shared.lock().map_or(0, |state| state.ring.start().saturating_sub(self.position))
    }

    /// Reads the available output without waiting. `None` if there is no output yet; 0 bytes if the console is closed
    /// and all output was read.
    pub fn try_read(&mut self, buf: &mut [u8]) -> Option<usize> {
        // It does not wait, so it cannot be cancelled.
        self.read_until(buf, Wait::at_most(Duration::ZERO)).unwrap_or(None)
    }

    /// Reads, waiting at most `timeout` for output; 0 bytes if the console is closed and all output was read.
    ///
    /// # Errors
    /// `Timeout` if there was no output.
    pub fn read_timeout(&mut self, buf: &mut [u8], timeout: Duration) -> Result<usize> {
        self.read_until(buf, Wait::at_most(timeout))?
            .ok_or_else(|| Error::new(ErrorKind::Timeout, format!("no console output within {timeout:?}")))
    }

    /// Waits until `pattern` is printed, and returns the output up to and including it (its newest 1 MiB; bytes that
    /// are not UTF-8 are replaced). The next read continues after it. On error, nothing is consumed.
    ///
    /// # Errors
    /// `Timeout` if it was not printed in time, `Gone` if the console was closed first. Both quote the last output.
    pub fn wait_for(&mut self, pattern: &str, timeout: Duration) -> Result<String> {
        let wait = Wait::at_most(timeout);
        let (origin, skipped) = (self.position, self.skipped);
        let mut text = Vec::new();
        let mut chunk = [0; 4096];
        let mut searched = 0;
        let seen = loop {
            if let Some(at) = find(&text[searched..], pattern.as_bytes()) {
                let surplus = text.split_off(searched + at + pattern.len());
                self.rewind(self.position - surplus.len() as u64);
                return Ok(String::from_utf8_lossy(&text).into_owned());
            }
            if text.len() > 2 * WAIT_TEXT {
                text.drain(..text.len() - WAIT_TEXT);
            }
            // The pattern may begin at the end of this text; anything earlier needs no second search.
            searched = text.len().saturating_sub(pattern.len().saturating_sub(1));
            match self.read_until(&mut chunk, wait) {
                Ok(Some(0)) => break Seen::Closed,
                Ok(None) => break Seen::TooLate,
                Ok(Some(n)) => text.extend_from_slice(&chunk[..n]),
                Err(_) => break Seen::Cancelled,
            }
        };
        self.skipped = skipped;
        self.rewind(origin);
        let last = String::from_utf8_lossy(&text[text.len().saturating_sub(QUOTED)..]).into_owned();
        let seen_last = if last.is_empty() { "nothing was printed".into() } else { format!("printed last: {last:?}") };
        Err(match seen {
            Seen::Closed => {
                Error::new(ErrorKind::Gone, format!("the console was closed before it showed {pattern:?}; {seen_last}"))
            }
            Seen::TooLate => Error::new(
                ErrorKind::Timeout,
                format!("the console did not show {pattern:?} within {timeout:?}; {seen_last}"),
            ),
            Seen::Cancelled => cancelled(format_args!("{pattern:?} on the console")),
        })
    }

    /// A descriptor for `poll` or an event loop: readable while [`try_read`](Self::try_read) would return `Some`. Each
    /// call returns the same descriptor. Only poll it; do not read from it.
    ///
    /// # Errors
    /// `OutOfDescriptors`.
    pub fn event_fd(&self) -> Result<BorrowedFd<'_>> {
        if let Some(watcher) = self.watcher.get() {
            return Ok(watcher.as_fd());
        }
        let new = self.shared.watch()?;
        // If two threads ask at the same time, only one of the watchers is kept.
        let watcher = self.watcher.get_or_init(|| new);
        // There may be output already.
        self.raise_if_readable();
        Ok(watcher.as_fd())
    }

    /// Puts back the last `n` bytes read.
    pub(super) fn unread(&mut self, n: usize) {
        self.rewind(self.position - n as u64);
    }

    /// The number of bytes that the reads so far have skipped.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    fn rewind(&mut self, position: u64) {
        self.position = position;
        self.raise_if_readable();
    }

    fn raise_if_readable(&self) {
        if let (Some(watcher), Ok(state)) = (self.watcher.get(), self.shared.lock())
            && (state.ring.end() > self.position || state.closed)
        {
            watcher.raise();
        }
    }

    /// `None` at the deadline.
    ///
    /// # Errors
    /// The caller has cancelled the wait.
    fn read_until(&mut self, buf: &mut [u8], wait: Wait) -> Result<Option<usize>> {
        if buf.is_empty() {
            return Ok(Some(0));
        }
        let shared = Arc::clone(&self.shared);
        match shared.wait_output(self.position, wait) {
            Ok(state) => Ok(state.map(|state| self.take(&state, buf))),
            Err(error) if error.kind() == ErrorKind::Cancelled => Err(error),
            // In a forked child, the console is closed.
            Err(_) => Ok(Some(0)),
        }
    }

    fn take(&mut self, state: &State, buf: &mut [u8]) -> usize {
        let overwritten = state.ring.start().saturating_sub(self.position);
        self.skipped += overwritten;
        self.position += overwritten;
        let n = state.ring.copy(self.position, buf);
        self.position += n as u64;
        if let Some(watcher) = self.watcher.get()
            && self.position == state.ring.end()
            && !state.closed
        {
            watcher.clear();
        }
        n
    }
}

enum Seen {
    Closed,
    TooLate,
    Cancelled,
}

impl io::Read for ConsoleReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_until(buf, Wait::until(None)).map_err(io::Error::other)?.unwrap_or(0))
    }
}

impl fmt::Debug for ConsoleReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsoleReader").field("position", &self.position).finish_non_exhaustive()
    }
}

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    if pattern.is_empty() {
        return Some(0);
    }
    text.windows(pattern.len()).position(|window| window == pattern)
}
