//! What a handle of Python holds, until it is closed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;
use xvirt_core::progress::{Progress, interrupted};
use xvirt_core::{Error, ErrorKind};

use crate::error::raised;
use crate::work::{InCall, Work};

/// How often a close looks whether the calls in progress have ended.
const PAUSE: Duration = Duration::from_millis(1);

/// The value of a handle. Calls in progress share it; closing the handle cancels them and waits for their end.
pub struct Slot<T: Send + Sync + 'static> {
    what: &'static str,
    value: Arc<Mutex<Option<Arc<T>>>>,
    closing: Arc<AtomicBool>,
}

impl<T: Send + Sync + 'static> Slot<T> {
    pub fn new(what: &'static str, value: T) -> Self {
        Self::shared(what, Arc::new(value))
    }

    /// Holds a value that the library shares.
    pub fn shared(what: &'static str, value: Arc<T>) -> Self {
        Self { what, value: Arc::new(Mutex::new(Some(value))), closing: Arc::new(AtomicBool::new(false)) }
    }

    /// The value, for a call.
    pub fn get(&self) -> PyResult<Arc<T>> {
        lock(&self.value).clone().ok_or_else(|| self.gone())
    }

    /// Becomes true when the handle is closed, for the calls that it started.
    pub fn closing(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.closing)
    }

    /// Takes the value out, for a call that consumes it.
    pub fn take(&self) -> PyResult<T> {
        let mut value = lock(&self.value);
        let shared = value.take().ok_or_else(|| self.gone())?;
        Arc::try_unwrap(shared).map_err(|shared| {
            *value = Some(shared);
            raised(Error::new(ErrorKind::Busy, format!("this {} is in use by another call", self.what)))
        })
    }

    /// A call that cancels the calls in progress, waits for their end, and drops the value. Closing twice has no effect.
    ///
    /// In a callback or the handler of a signal, it does not wait: the call that this thread is in may be one of them. The
    /// last of them drops the value then.
    pub fn close(&self) -> Work {
        let (closing, slot) = (Arc::clone(&self.closing), Arc::clone(&self.value));
        let waits = !InCall::now();
        Work::free(move |watch| {
            closing.store(true, Ordering::Relaxed);
            let Some(mut shared) = lock(&slot).take() else { return Ok(()) };
            loop {
                match Arc::try_unwrap(shared) {
                    Ok(value) => {
                        drop(value);
                        return Ok(());
                    }
                    Err(_) if !waits => return Ok(()),
                    Err(still_shared) => shared = still_shared,
                }
                if watch.cancelled() || interrupted() {
                    *lock(&slot) = Some(shared);
                    return Err(Error::new(ErrorKind::Cancelled, "closing was cancelled"));
                }
                thread::sleep(PAUSE);
            }
        })
    }

    pub fn is_closed(&self) -> bool {
        lock(&self.value).is_none()
    }

    fn gone(&self) -> PyErr {
        raised(Error::new(ErrorKind::InvalidState, format!("this {} was closed", self.what)))
    }
}

impl<T: Send + Sync + 'static> Drop for Slot<T> {
    /// Dropping a value may wait, for example for the threads of a VM, which must not block other threads of Python.
    fn drop(&mut self) {
        let mut value = lock(&self.value).take();
        if value.is_some() {
            Python::try_attach(|py| py.detach(|| drop(value.take())));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The value of a handle that one call at a time may use.
pub fn locked<T>(value: &Mutex<T>) -> xvirt_core::Result<MutexGuard<'_, T>> {
    match value.try_lock() {
        Ok(value) => Ok(value),
        Err(std::sync::TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
        Err(std::sync::TryLockError::WouldBlock) => Err(Error::new(ErrorKind::Busy, "another call uses this object")
            .with_remedy("wait for its end, or use another one")),
    }
}
