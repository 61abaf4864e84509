//! Changes of records that say what has happened: if the store cannot take them, they are made once it can, in their
//! order. What has happened does not depend on that.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::Inner;
use super::objects::{Change, Objects};
use crate::operation::Failure;
use crate::sync::lock;

/// How often it is tried again.
const INTERVAL: Duration = Duration::from_millis(500);

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
    closed: bool,
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
        // Only one that might overtake another waits for its turn.
        if !lock(&self.state).waiting.is_empty() {
            let _turn = lock(&self.turn);
            self.retry(objects);
        }
        let waits = !lock(&self.state).waiting.is_empty();
        let made = if waits { Err(behind()) } else { objects.change(&mut change) };
        if let Err(failure) = &made {
            tracing::error!(%failure, "what has happened cannot be recorded yet");
            lock(&self.state).waiting.push_back(Box::new(change));
            self.changed.notify_all();
        }
        made
    }

    /// Tries what waits.
    fn retry(&self, objects: &Objects) {
        loop {
            let Some(mut change) = lock(&self.state).waiting.pop_front() else { return };
            if objects.change(&mut change).is_err() {
                lock(&self.state).waiting.push_front(change);
                return;
            }
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
    pub(crate) fn later_loop(&self) {
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
            let _turn = lock(&self.later.turn);
            self.later.retry(&self.objects);
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
