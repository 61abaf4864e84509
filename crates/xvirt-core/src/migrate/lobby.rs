//! Where accepted connections wait until it is known who they are, several at a time: a stranger that says nothing must not
//! keep the source waiting.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::link::is_wait;
use crate::thread::with_signals_blocked;
use crate::{Error, ErrorKind, Result};

/// How long a connection may take to say who it is.
pub(super) const INTRODUCTION: Duration = Duration::from_secs(10);
/// How many connections wait at a time. If another one comes, the oldest is dropped.
const PLACES: usize = 16;
/// How many connections are taken in between two steps of all, so that each has several steps before it is the oldest.
const AT_ONCE: usize = PLACES / 4;

/// A connection of which it is not known yet whose it is.
pub(super) trait Newcomer: Send {
    /// Waits for the peer, no longer than a call of a connection, and returns whether it is known now.
    fn advance(&mut self) -> Result<bool>;

    /// The error for one that takes too long.
    fn too_slow(&self) -> Error;

    /// Tells the peer why it is dropped, if that is possible.
    fn refuse(&self, why: &Error);
}

pub(super) struct Lobby<N> {
    /// How long each may wait.
    patience: Duration,
    /// The oldest first, with the times until which they may wait.
    waiting: Vec<(N, Instant)>,
    /// Why one was dropped last.
    refused: Option<Error>,
}

impl<N: Newcomer> Lobby<N> {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, waiting: Vec::new(), refused: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Why a connection was dropped last.
    pub(super) fn refused(&mut self) -> &mut Option<Error> {
        &mut self.refused
    }

    /// Takes in the connections that are there, some at a time. Waits for the first if no other waits.
    ///
    /// # Errors
    /// Those of `accept`, but only while no other connection waits.
    pub(super) fn accept(&mut self, limit: Duration, accept: impl Fn(Duration) -> io::Result<N>) -> io::Result<()> {
        for _ in 0..AT_ONCE {
            let limit = if self.is_empty() { limit } else { Duration::ZERO };
            match accept(limit) {
                Ok(newcomer) => self.waiting.push((newcomer, Instant::now() + self.patience)),
                Err(error) if self.is_empty() => return Err(error),
                Err(_) => break,
            }
            if self.waiting.len() > PLACES {
                let (oldest, _) = self.waiting.remove(0);
                self.drop_one(oldest, Error::new(ErrorKind::LimitExceeded, "too many connections wait"));
            }
        }
        Ok(())
    }

    /// Goes on with all connections. Returns the first one that is known, and drops those that fail.
    pub(super) fn advance(&mut self) -> Option<N> {
        let steps = advance_all(&mut self.waiting);
        let mut known = None;
        for ((newcomer, deadline), step) in std::mem::take(&mut self.waiting).into_iter().zip(steps) {
            match step {
                Ok(true) if known.is_none() => known = Some(newcomer),
                // It is known at once the next time.
                Ok(true) => self.waiting.push((newcomer, deadline)),
                Ok(false) if Instant::now() < deadline => self.waiting.push((newcomer, deadline)),
                Ok(false) => {
                    let error = newcomer.too_slow();
                    self.drop_one(newcomer, error);
                }
                Err(error) => self.drop_one(newcomer, error),
            }
        }
        known
    }

    /// Drops a connection, and remembers why.
    pub(super) fn drop_one(&mut self, newcomer: N, why: Error) {
        tracing::warn!(error = %why, "a connection for a migration was refused");
        newcomer.refuse(&why);
        self.refused = Some(why);
    }
}

/// A step of each, at the same time, because each waits for its peer.
fn advance_all<N: Newcomer>(waiting: &mut [(N, Instant)]) -> Vec<Result<bool>> {
    let Some(((first, _), others)) = waiting.split_first_mut() else { return Vec::new() };
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (newcomer, _) in others {
            let step = move || newcomer.advance();
            threads.push(with_signals_blocked(|| thread::Builder::new().spawn_scoped(scope, step)));
        }
        let mut steps = vec![first.advance()];
        let panicked = |_| Err(Error::new(ErrorKind::Io, "a thread that waits for a connection panicked"));
        steps.extend(threads.into_iter().map(|thread| match thread {
            Ok(thread) => thread.join().unwrap_or_else(panicked),
            Err(error) => Err(Error::io("cannot start a thread that waits for a connection", error)),
        }));
        steps
    })
}

/// Whether no connection could be accepted now, but another may be later.
pub(super) fn may_come_later(error: &io::Error) -> bool {
    is_wait(error) || matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}
