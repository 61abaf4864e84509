//! Work that nobody waits for, on a bounded number of threads.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use crate::operation::Failure;
use crate::sync::lock;

/// How many threads there are at most, and how many of those that wait for guests.
const THREADS: usize = 64;
const WAITERS: usize = 1024;
/// How many jobs wait at most.
const WAITING: usize = 10_000;
const STACK: usize = 512 << 10;

type Job = Box<dyn FnOnce() + Send>;

/// The jobs of a host. Those that wait for a guest have threads of their own, so that guests that do not listen keep
/// nothing else from being done.
#[derive(Clone)]
pub(crate) struct Jobs {
    waiters: Arc<Shared>,
    others: Arc<Shared>,
}

struct Shared {
    /// How many threads there are at most.
    most: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    threads: usize,
    closed: bool,
}

impl Default for Jobs {
    fn default() -> Self {
        let shared = |most| Arc::new(Shared { most, state: Mutex::default(), changed: Condvar::new() });
        Self { waiters: shared(WAITERS), others: shared(THREADS) }
    }
}

impl Jobs {
    /// Carries out a job on another thread, as soon as one is free; `waits` says whether it waits for a guest.
    ///
    /// # Errors
    /// `TOO_MANY_PENDING_TASKS`; or the host is being closed.
    pub(crate) fn submit(&self, waits: bool, job: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
        if waits { &self.waiters } else { &self.others }.submit(job)
    }

    /// Takes no more jobs, and waits until those that were begun have ended. Those that were not are dropped.
    pub(crate) fn close(&self) {
        self.waiters.close();
        self.others.close();
    }
}

impl Shared {
    fn submit(self: &Arc<Self>, job: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(crate::operation::codes::internal("the host service ends"));
        }
        if state.waiting.len() >= WAITING {
            return Err(Failure::new("TOO_MANY_PENDING_TASKS", [] as [&str; 0]).with_remedy("wait for some to end"));
        }
        state.waiting.push_back(Box::new(job));
        if state.threads < self.most {
            let shared = Arc::clone(self);
            let started = thread::Builder::new().name("job".to_owned()).stack_size(STACK).spawn(move || run(&shared));
            match started {
                Ok(_) => state.threads += 1,
                // One of the others takes it.
                Err(_) if state.threads > 0 => {}
                Err(error) => {
                    state.waiting.pop_back();
                    return Err(crate::operation::codes::internal(format!("cannot start a thread: {error}")));
                }
            }
        }
        Ok(())
    }

    fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.waiting.clear();
        while state.threads > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Carries out jobs until there is none.
fn run(shared: &Shared) {
    loop {
        let job = {
            let mut state = lock(&shared.state);
            match state.waiting.pop_front() {
                Some(job) => job,
                None => {
                    state.threads -= 1;
                    shared.changed.notify_all();
                    return;
                }
            }
        };
        // A job that panics must not take the thread's place in the count with it.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
            tracing::error!("a job of the host service panicked");
        }
    }
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = |shared: &Shared| lock(&shared.state).threads;
        let (waiters, others) = (threads(&self.waiters), threads(&self.others));
        f.debug_struct("Jobs").field("waiters", &waiters).field("others", &others).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn jobs_that_wait_for_guests_keep_nothing_else_from_its_turn() {
        let jobs = Jobs::default();
        let (end, ended) = channel::<()>();
        let ended = Arc::new(Mutex::new(ended));
        for _ in 0..2 * THREADS {
            let ended = Arc::clone(&ended);
            jobs.submit(true, move || {
                let _ = lock(&ended).recv();
            })
            .unwrap();
        }
        let (done, was_done) = channel();
        jobs.submit(false, move || done.send(()).unwrap()).unwrap();
        was_done.recv().unwrap();
        drop(end);
        jobs.close();
        assert_eq!(jobs.submit(false, || ()).unwrap_err().code, "INTERNAL_ERROR");
    }
}
