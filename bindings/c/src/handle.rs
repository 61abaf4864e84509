//! Handles: what C has pointers to.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use xvirt_core::{Error, ErrorKind, Result};

use crate::input::invalid;

/// A handle that a call requires.
pub fn given<'a, T>(handle: Option<&'a T>, name: &str) -> Result<&'a T> {
    handle.ok_or_else(|| invalid(format!("{name} is NULL")))
}

pub fn put_handle<T>(place: &mut *mut T, handle: T) {
    *place = Box::into_raw(Box::new(handle));
}

/// Frees a handle. There is nobody to tell of a panic.
pub fn free<T>(handle: Option<Box<T>>) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(handle)));
}

/// The value of a handle that one call at a time can use, and that a call may use up.
pub struct Exclusive<T>(Mutex<Option<T>>);

impl<T> Exclusive<T> {
    pub fn new(value: T) -> Self {
        Self(Mutex::new(Some(value)))
    }

    /// Uses the value.
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> Result<R>) -> Result<R> {
        work(self.lock()?.as_mut().ok_or_else(used_up)?)
    }

    /// Takes the value out, for a call that uses it up.
    pub fn take(&self) -> Result<T> {
        self.lock()?.take().ok_or_else(used_up)
    }

    fn lock(&self) -> Result<MutexGuard<'_, Option<T>>> {
        match self.0.try_lock() {
            Ok(value) => Ok(value),
            Err(TryLockError::Poisoned(poisoned)) => Ok(PoisonError::into_inner(poisoned)),
            Err(TryLockError::WouldBlock) => Err(Error::new(ErrorKind::Busy, "another call uses this handle")
                .with_remedy("wait for its end, or use another handle")),
        }
    }
}

fn used_up() -> Error {
    Error::new(ErrorKind::InvalidState, "an earlier call has used this handle up")
}
