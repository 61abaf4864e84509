//! Watches: what changed, in order, without gaps.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Cursor, Pair, Revision};
use crate::sync::lock;
use crate::{Error, ErrorKind, Result};

/// Everything that one transaction changed in a watched folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The transaction's revision.
    pub revision: Revision,
    /// What it changed, in the order of the keys.
    pub events: Vec<Event>,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The modification revision of the value that was replaced or deleted; `None` if the key was created.
    pub previous: Option<Revision>,
    /// What happened.
    pub change: Change,
}

impl Event {
    /// The key that was changed.
    pub fn key(&self) -> &str {
        match &self.change {
            Change::Put(pair) => &pair.key,
            Change::Delete { key } => key,
        }
    }
}

/// What happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was put.
    Put(Pair),
    /// It was deleted, by a transaction or because its lease has ended.
    Delete {
        /// The key.
        key: String,
    },
}

/// A watch of a folder.
///
/// Any error ends a watch. What to do follows from its kind: after [`Compacted`](ErrorKind::Compacted), read everything
/// again; after [`Unavailable`](ErrorKind::Unavailable), watch again from [`cursor`](Self::cursor).
///
/// A watch that is read slowly holds up nobody and takes no memory, but the store may be compacted past it. The changes of
/// one revision are in memory together: below 1 MiB of values, or the keys of a folder that was deleted.
pub trait Watch: Debug + Send {
    /// The next changes. `None` if there were none for as long as `timeout`; with a timeout of zero, those that are there.
    ///
    /// # Errors
    /// [`Compacted`](ErrorKind::Compacted): the store was compacted past this watch.
    /// [`EpochChanged`](ErrorKind::EpochChanged). [`Closed`](ErrorKind::Closed). [`Unavailable`](ErrorKind::Unavailable):
    /// the connection to the store was lost.
    fn next(&mut self, timeout: Duration) -> Result<Option<Changes>>;

    /// Everything up to here has been returned. It also moves over changes in other folders, so that a watch of a quiet
    /// folder can go on from it later.
    fn cursor(&self) -> Cursor;

    /// Closes this watch from another thread.
    fn closer(&self) -> Closer;
}

/// Closes a watch, also while another thread waits in [`Watch::next`].
#[derive(Clone, Debug)]
pub struct Closer {
    closed: Arc<AtomicBool>,
    bell: Arc<Bell>,
}

impl Closer {
    pub(crate) fn new(bell: Arc<Bell>) -> Self {
        Self { closed: Arc::default(), bell }
    }

    /// Closes the watch: [`Watch::next`] returns [`Closed`](ErrorKind::Closed) from now on.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.bell.wake();
    }

    pub(crate) fn check(&self) -> Result<()> {
        let who = match () {
            () if self.closed.load(Ordering::Acquire) => "the watch",
            () if lock(&self.bell.state).ended => "the store",
            () => return Ok(()),
        };
        Err(Error::new(ErrorKind::Closed, format!("cannot watch: {who} was closed")))
    }

    /// Waits until something happens after `revision`, this watch or the store is closed, or the time is over.
    pub(crate) fn wait(&self, revision: Revision, until: Option<Instant>) {
        let mut state = lock(&self.bell.state);
        loop {
            if state.revision > revision || state.ended || self.closed.load(Ordering::Acquire) {
                return;
            }
            let Some(until) = until else {
                state = self.bell.rung.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.bell.rung.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Wakes the watches of a store. They then look for themselves, so nothing is queued for them.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    state: Mutex<BellState>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct BellState {
    revision: Revision,
    ended: bool,
}

impl Bell {
    /// Something happened at this revision.
    pub(crate) fn ring(&self, revision: Revision) {
        let mut state = lock(&self.state);
        state.revision = state.revision.max(revision);
        self.rung.notify_all();
    }

    /// The store is closed.
    pub(crate) fn end(&self) {
        lock(&self.state).ended = true;
        self.rung.notify_all();
    }

    /// Lets all watches look again. The lock orders this after the check of a watch that is about to wait.
    pub(crate) fn wake(&self) {
        let _state = lock(&self.state);
        self.rung.notify_all();
    }
}
