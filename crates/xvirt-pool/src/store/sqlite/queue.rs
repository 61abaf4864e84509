//! Transactions that wait: one thread at a time commits all that are there, its own and those of others.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::Result;
use crate::store::{Outcome, Transaction};
use crate::sync::lock;

/// The most bytes of transactions that are committed together.
const BATCH: usize = 4 << 20;

/// Where the thread that waits finds what came of its transaction.
pub(super) type Answer = Arc<Mutex<Option<Result<Outcome>>>>;

/// A transaction that waits.
pub(super) struct Pending {
    pub(super) transaction: Transaction,
    pub(super) answer: Answer,
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// There are answers, and it is another thread's turn.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    pending: VecDeque<Pending>,
    taken: bool,
}

/// The right to commit, which one thread has.
pub(super) struct Turn<'a>(&'a Queue);

impl Queue {
    pub(super) fn add(&self, pending: Pending) {
        lock(&self.state).pending.push_back(pending);
    }

    /// Waits for the turn to commit. `None` if there is an answer: another thread has committed this one, too.
    pub(super) fn turn(&self, answer: &Answer) -> Option<Turn<'_>> {
        let mut state = lock(&self.state);
        loop {
            if lock(answer).is_some() {
                return None;
            }
            if !state.taken {
                state.taken = true;
                return Some(Turn(self));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Turn<'_> {
    /// The transactions that have waited longest.
    pub(super) fn batch(&self) -> Vec<Pending> {
        let pending = &mut lock(&self.0.state).pending;
        let mut size = 0;
        let fits = |pending: &&Pending| {
            size += pending.transaction.size();
            size <= BATCH
        };
        let count = pending.iter().take_while(fits).count();
        pending.drain(..count).collect()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).taken = false;
        self.0.changed.notify_all();
    }
}
