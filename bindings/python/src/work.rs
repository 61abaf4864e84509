//! Calls that may wait: run by the thread of Python that asks, or by a thread of their own that an event loop awaits.

use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::exceptions::PyRuntimeError;
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use rustix::event::{EventfdFlags, eventfd};
use xvirt_core::progress::{Done, Progress, interruptible};
use xvirt_core::{Error, Result};

use crate::error::raised;
use crate::output::ToPython;

/// How often progress is reported.
const REPORTS: Duration = Duration::from_millis(50);

/// The result of a call as an object of Python.
type Finish = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;
type Job = Box<dyn FnOnce(&Watch) -> Result<Finish> + Send>;

thread_local! {
    /// How many calls this thread is in: more than one if a callback of a call makes another one.
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// Says that what this thread does meanwhile belongs to a call.
pub struct InCall(());

impl InCall {
    pub fn enter() -> Self {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        Self(())
    }

    /// Whether this thread is in a call, which then cannot end before what the thread does.
    pub fn now() -> bool {
        CALLS.with(|calls| calls.get() > 0)
    }
}

impl Drop for InCall {
    fn drop(&mut self) {
        CALLS.with(|calls| calls.set(calls.get().saturating_sub(1)));
    }
}

/// A call that has not run yet. It runs once.
#[pyclass(frozen, module = "xvirt._xvirt")]
pub struct Work {
    job: Mutex<Option<Job>>,
    closing: Arc<AtomicBool>,
    cancelled: Arc<AtomicBool>,
}

impl Work {
    /// A call on a handle, which is cancelled when the handle is closed.
    pub fn new<T: ToPython + Send + 'static>(
        closing: Arc<AtomicBool>,
        call: impl FnOnce(&Watch) -> Result<T> + Send + 'static,
    ) -> Self {
        let job: Job = Box::new(move |watch| {
            let value = call(watch)?;
            Ok(Box::new(move |py: Python<'_>| Ok(value.to_python(py)?.unbind())))
        });
        Self { job: Mutex::new(Some(job)), closing, cancelled: Arc::default() }
    }

    /// A call that belongs to no handle.
    pub fn free<T: ToPython + Send + 'static>(call: impl FnOnce(&Watch) -> Result<T> + Send + 'static) -> Self {
        Self::new(Arc::default(), call)
    }

    fn take(&self) -> PyResult<Job> {
        lock(&self.job).take().ok_or_else(|| PyRuntimeError::new_err("this call has run already"))
    }

    fn watch(&self, reports: Reports, signals: bool) -> Watch {
        let (closing, cancelled) = (Arc::clone(&self.closing), Arc::clone(&self.cancelled));
        let state = Mutex::default();
        Watch(Arc::new(Watched { closing, cancelled, signals, reports, state }))
    }
}

#[pymethods]
impl Work {
    /// Runs the call on this thread. `progress` is called with the bytes that are done, and of how many.
    #[pyo3(signature = (progress = None))]
    fn run(&self, py: Python<'_>, progress: Option<Py<PyAny>>) -> PyResult<Py<PyAny>> {
        let job = self.take()?;
        let watch = self.watch(progress.map_or(Reports::None, Reports::Call), true);
        py.check_signals()?;
        let _in_call = InCall::enter();
        let result = py.detach(|| watch.over(job));
        // An exception of a signal's handler or of the callback is why the call was cancelled.
        if let Some(failure) = watch.failure() {
            return Err(failure);
        }
        result.map_err(raised)?(py)
    }

    /// Runs the call on a thread of its own. `completions` gets its progress and its end under the number `call`.
    fn start(&self, completions: &Completions, call: u64) -> PyResult<()> {
        let job = self.take()?;
        let shared = Arc::clone(&completions.shared);
        let watch = self.watch(Reports::Queue(Arc::clone(&shared), call), false);
        let run = move || {
            let _in_call = InCall::enter();
            // Whoever waits for the call would never know that it panicked.
            let end = match catch_unwind(AssertUnwindSafe(|| watch.over(job))) {
                Ok(result) => Completion::Ended(call, result, watch.failure()),
                Err(_) => Completion::Panicked(call),
            };
            shared.push(end);
        };
        thread::Builder::new()
            .name("xvirt-call".to_owned())
            .spawn(run)
            .map(drop)
            .map_err(|error| raised(Error::io("cannot start a thread for a call", error)))
    }

    /// Cancels the call. It still ends by itself, soon.
    fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

/// Where a call reports its progress.
enum Reports {
    None,
    Call(Py<PyAny>),
    Queue(Arc<Shared>, u64),
}

/// Watches a call: tells it that it is cancelled, and others how far it is.
#[derive(Clone)]
pub struct Watch(Arc<Watched>);

struct Watched {
    closing: Arc<AtomicBool>,
    cancelled: Arc<AtomicBool>,
    /// Whether the call may be interrupted by a signal.
    signals: bool,
    reports: Reports,
    state: Mutex<WatchState>,
}

#[derive(Default)]
struct WatchState {
    /// When progress was reported.
    reported: Option<Instant>,
    failure: Option<PyErr>,
}

impl Watch {
    fn over(&self, job: Job) -> Result<Finish> {
        let watch = self.clone();
        interruptible(move || watch.cancelled() || watch.signalled(), || job(self))
    }

    /// The exception because of which the call was cancelled.
    fn failure(&self) -> Option<PyErr> {
        lock(&self.0.state).failure.take()
    }

    /// Whether a signal's handler, such as that of Ctrl-C, raises an exception now.
    fn signalled(&self) -> bool {
        // Handlers are code of Python, which may use this object, so it is not locked meanwhile.
        let raised = self.0.signals.then(|| Python::attach(|py| py.check_signals()).err()).flatten();
        let signalled = raised.is_some();
        raised.into_iter().for_each(|failure| self.fail(failure));
        signalled
    }

    /// Whether it is time to report.
    fn due(&self) -> bool {
        let mut state = lock(&self.0.state);
        let due = state.reported.is_none_or(|last| last.elapsed() >= REPORTS);
        if due {
            state.reported = Some(Instant::now());
        }
        due
    }

    /// Remembers an exception of a callback, which cancels the call.
    pub fn fail(&self, failure: PyErr) {
        lock(&self.0.state).failure.get_or_insert(failure);
    }
}

impl Progress for Watch {
    fn report(&self, done: Done) {
        let ends = done.total == Some(done.bytes);
        match &self.0.reports {
            Reports::None => {}
            _ if !ends && !self.due() => {}
            Reports::Call(callback) => {
                let called = Python::attach(|py| callback.call1(py, (done.bytes, done.total)).map(drop));
                if let Err(failure) = called {
                    self.fail(failure);
                }
            }
            Reports::Queue(shared, call) => shared.push(Completion::Progress(*call, done)),
        }
    }

    fn cancelled(&self) -> bool {
        [&self.0.cancelled, &self.0.closing].iter().any(|flag| flag.load(Ordering::Relaxed))
            || lock(&self.0.state).failure.is_some()
    }
}

/// What an event loop learns of its calls.
enum Completion {
    Progress(u64, Done),
    /// With the exception because of which the call was cancelled.
    Ended(u64, Result<Finish>, Option<PyErr>),
    Panicked(u64),
}

/// The progress and the ends of calls, for one event loop, which polls `fileno` and then drains them.
#[pyclass(frozen, module = "xvirt._xvirt")]
pub struct Completions {
    shared: Arc<Shared>,
}

struct Shared {
    event: OwnedFd,
    waiting: Mutex<Vec<Completion>>,
}

impl Shared {
    fn push(&self, completion: Completion) {
        lock(&self.waiting).push(completion);
        // It can only fail if the counter is full, and then the event loop is woken anyway.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }
}

#[pymethods]
impl Completions {
    #[new]
    fn new() -> PyResult<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| raised(Error::io("cannot create an event for an event loop", error.into())))?;
        Ok(Self { shared: Arc::new(Shared { event, waiting: Mutex::default() }) })
    }

    /// The descriptor that is readable while there is something to drain.
    fn fileno(&self) -> i32 {
        self.shared.event.as_fd().as_raw_fd()
    }

    /// What happened: for each the number of the call and what it is, which is one of `(bytes, total)`, a result, or an
    /// exception.
    fn drain(&self, py: Python<'_>) -> Vec<(u64, &'static str, Py<PyAny>)> {
        let _ = rustix::io::read(&self.shared.event, &mut [0_u8; 8]);
        let waiting = std::mem::take(&mut *lock(&self.shared.waiting));
        waiting.into_iter().map(|completion| completion.deliver(py)).collect()
    }
}

impl Completion {
    fn deliver(self, py: Python<'_>) -> (u64, &'static str, Py<PyAny>) {
        let (call, outcome) = match self {
            Self::Progress(call, done) => {
                return match (done.bytes, done.total).into_pyobject(py) {
                    Ok(done) => (call, "progress", done.into_any().unbind()),
                    Err(failure) => (call, "progress", failure.into_value(py).into_any()),
                };
            }
            Self::Ended(call, _, Some(failure)) => (call, Err(failure)),
            Self::Ended(call, result, None) => (call, result.map_err(raised).and_then(|finish| finish(py))),
            Self::Panicked(call) => (call, Err(PanicException::new_err("the library has a defect: a call panicked"))),
        };
        match outcome {
            Ok(value) => (call, "result", value),
            Err(failure) => (call, "error", failure.into_value(py).into_any()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
