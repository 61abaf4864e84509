//! Work that nobody waits for, on a bounded number of threads.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use crate::operation::Failure;
use crate::sync::lock;

/// How many threads there are at most. Some wait for guests.
const THREADS: usize = 64;
/// How many jobs wait at most.
const WAITING: usize = 10_000;
const STACK: usize = 512 << 10;

type Job = Box<dyn FnOnce() + Send>;

/// The jobs of a host.
#[derive(Clone, Default)]
pub(crate) struct Jobs(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    threads: usize,
    closed: bool,
}

impl Jobs {
    /// Carries out a job on another thread, as soon as one is free.
    ///
    /// # Errors
    /// `TOO_MANY_PENDING_TASKS`; or the host is being closed.
    pub(crate) fn submit(&self, job: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
        let mut state = lock(&self.0.state);
        if state.closed {
            return Err(crate::operation::codes::internal("the host service ends"));
        }
        if state.waiting.len() >= WAITING {
            return Err(Failure::new("TOO_MANY_PENDING_TASKS", [] as [&str; 0]).with_remedy("wait for some to end"));
        }
        state.waiting.push_back(Box::new(job));
        if state.threads < THREADS {
            let shared = Arc::clone(&self.0);
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

    /// Takes no more jobs, and waits until those that were begun have ended. Those that were not are dropped.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.0.state);
        state.closed = true;
        state.waiting.clear();
        while state.threads > 0 {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
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
        let state = lock(&self.0.state);
        f.debug_struct("Jobs").field("waiting", &state.waiting.len()).field("threads", &state.threads).finish()
    }
}
