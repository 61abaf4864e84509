//! Changes of records that say what has happened: if the store cannot take them, they are made once it can, in their
//! order. What has happened does not depend on that.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::Inner;
use crate::objects::{Change, Objects};
use crate::operation::Failure;
use crate::sync::lock;

/// How often it is tried again.
const INTERVAL: Duration = Duration::from_millis(500);
/// How often one is tried that fails for another reason than a full store, before it is given up: it must not keep those
/// behind it from being made for ever.
const ATTEMPTS: u32 = 600;

/// The code of a full store.
pub(crate) const FULL: &str = "OUT_OF_SPACE";

type Made = Box<dyn FnMut(&mut Change<'_>) -> Result<(), Failure> + Send>;

/// The changes that wait.
#[derive(Default)]
pub(crate) struct Later {
    state: Mutex<State>,
    changed: Condvar,
    /// Held while changes are tried, so that they stay in their order.
    turn: Mutex<()>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Made>,
    /// How often the first one has failed for another reason than a full store.
    failed: u32,
    /// Whether the first one is being tried.
    trying: bool,
    closed: bool,
}

impl State {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && !self.trying
    }
}

impl Later {
    /// Makes a change now or, if the store cannot take it, later.
    ///
    /// # Errors
    /// It is made later, for this reason.
    pub(crate) fn make(
        &self,
        objects: &Objects,
        mut change: impl FnMut(&mut Change<'_>) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), Failure> {
        // One that might overtake another waits for its turn.
        let made = if lock(&self.state).is_empty() || self.retry(objects) {
            objects.change(&mut change)
        } else {
            Err(behind())
        };
        if let Err(failure) = &made {
            tracing::error!(%failure, "what has happened cannot be recorded yet");
            lock(&self.state).waiting.push_back(Box::new(change));
            self.changed.notify_all();
        }
        made
    }

    /// Tries what waits. Returns whether nothing waits any more.
    fn retry(&self, objects: &Objects) -> bool {
        let _turn = lock(&self.turn);
        loop {
            let mut change = {
                let mut state = lock(&self.state);
                let Some(change) = state.waiting.pop_front() else { return true };
                state.trying = true;
                change
            };
            let made = objects.change(&mut change);
            let mut state = lock(&self.state);
            state.trying = false;
            match made {
                Ok(()) => {}
                Err(failure) if failure.code != FULL && state.failed >= ATTEMPTS => {
                    tracing::error!(%failure, "what has happened cannot be recorded, and is given up");
                }
                Err(failure) => {
                    state.failed += u32::from(failure.code != FULL);
                    state.waiting.push_front(change);
                    return false;
                }
            }
            state.failed = 0;
        }
    }

    /// Ends the loop. What still waits is found by the next service.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }
}

impl Inner {
    /// Tries what waits, until the host is closed.
    pub(crate) fn later_loop(self: &Arc<Self>) {
        loop {
            {
                let mut state = lock(&self.later.state);
                while state.waiting.is_empty() && !state.closed {
                    state = self.later.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if state.closed {
                    return;
                }
                let until = |state: &mut State| !state.closed;
                let waited = self.later.changed.wait_timeout_while(state, INTERVAL, until);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
            if self.later.retry(&self.objects)
                && let Err(failure) = self.start_what_crashed()
            {
                tracing::error!(%failure, "the VMs to start again cannot be found");
            }
        }
    }
}

fn behind() -> Failure {
    crate::operation::codes::internal("earlier changes could not be recorded yet")
        .with_remedy("make room for the state store")
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Later").field("waiting", &lock(&self.state).waiting.len()).finish_non_exhaustive()
    }
}
