//! How each call begins and ends: panics are caught, errors handed over, waits cancelled.

use std::ffi::c_void;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use xvirt_core::progress::{Done, Progress, interruptible};
use xvirt_core::{Error, ErrorKind, Result};

use crate::cancel::XvirtCancel;
use crate::error::{Failure, XvirtError, XvirtStatus};
use crate::input::{At, Plain, sized};

/// How a call runs that may take long. All zeroes, or NULL in its place, is fine.
///
/// The call only reads it, so several calls may use one at the same time. What calls are told in addition in later
/// versions of the library is added here, with zero for what was done before.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct XvirtCall {
    /// The size of this struct, which the caller sets.
    pub struct_size: usize,
    /// The longest time that the call may take, in nanoseconds; 0 and UINT64_MAX are no limit. After it, the call fails
    /// with XVIRT_STATUS_TIMEOUT.
    pub timeout_ns: u64,
    /// Cancels the call from another thread, if it is not NULL. It must not be freed before the call has returned.
    pub cancel: *const XvirtCancel,
    /// Called now and then, always on the thread of the call and never after it, if it is not NULL. `done` is the number
    /// of bytes that are done, of `total`; `total` is 0 while that is unknown. Returns false to cancel the call.
    /// Only calls that move data report progress.
    pub progress: Option<extern "C" fn(user_data: *mut c_void, done: u64, total: u64) -> bool>,
    /// What `progress` gets.
    pub user_data: *mut c_void,
}

// SAFETY: numbers and pointers that are not followed without a check. A function of the caller is what it says.
unsafe impl Plain for XvirtCall {}

/// The checked form of an [`XvirtCall`].
pub struct Call {
    started: Instant,
    timeout: Duration,
    cancelled: Option<Arc<AtomicBool>>,
    progress: Option<extern "C" fn(*mut c_void, u64, u64) -> bool>,
    user_data: *mut c_void,
}

impl Call {
    /// # Safety
    /// `call` is NULL or what the header says.
    pub unsafe fn of(call: *const XvirtCall) -> Result<Self> {
        let mut checked = Self {
            started: Instant::now(),
            timeout: Duration::MAX,
            cancelled: None,
            progress: None,
            user_data: std::ptr::null_mut(),
        };
        // SAFETY: as for this function.
        let Some(call) = (unsafe { sized(call, &At::root("call")) })? else { return Ok(checked) };
        if !matches!(call.timeout_ns, 0 | u64::MAX) {
            checked.timeout = Duration::from_nanos(call.timeout_ns);
        }
        // SAFETY: the handle stays there until the call returns.
        checked.cancelled = unsafe { call.cancel.as_ref() }.map(|cancel| Arc::clone(&cancel.0));
        checked.progress = call.progress;
        checked.user_data = call.user_data;
        Ok(checked)
    }

    /// The timeout of a call that waits for something.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Runs what may take long.
    pub fn run<T>(&self, work: impl FnOnce(&Watch<'_>) -> Result<T>) -> Result<T> {
        let stopped = Arc::new(AtomicBool::new(false));
        let (cancelled, stop, deadline) = (self.cancelled.clone(), Arc::clone(&stopped), self.deadline());
        let check = move || {
            stop.load(Ordering::Relaxed)
                || cancelled.as_ref().is_some_and(|cancelled| cancelled.load(Ordering::Relaxed))
                || deadline.is_some_and(|deadline| Instant::now() >= deadline)
        };
        let watch = Watch { call: self, thread: thread::current().id(), stopped };
        if watch.cancelled() && !self.is_late() {
            return Err(Error::new(ErrorKind::Cancelled, "the call was cancelled before it began"));
        }
        let result = interruptible(check, || work(&watch));
        result.map_err(|error| self.explained(error))
    }

    /// When waits end that do not know of the timeout. Those that do know it end first.
    fn deadline(&self) -> Option<Instant> {
        self.started.checked_add(self.timeout.checked_add(Duration::from_millis(20))?)
    }

    fn is_late(&self) -> bool {
        self.started.elapsed() >= self.timeout
    }

    /// An error that says that the timeout ended the call, if it did.
    fn explained(&self, error: Error) -> Error {
        let cancelled = self.cancelled.as_ref().is_some_and(|cancelled| cancelled.load(Ordering::Relaxed));
        if error.kind() == ErrorKind::Cancelled && !cancelled && self.is_late() {
            return Error::new(ErrorKind::Timeout, format!("the call took longer than {:?}", self.timeout))
                .because(error);
        }
        error
    }
}

/// Watches a call.
pub struct Watch<'a> {
    call: &'a Call,
    thread: ThreadId,
    stopped: Arc<AtomicBool>,
}

// SAFETY: the caller's function and data are used on the thread of the call only, which `report` checks. The rest is
// atomic or never changes.
unsafe impl Sync for Watch<'_> {}

impl Watch<'_> {
    /// Cancels the call, for a callback that has failed.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether this is the thread of the call, on which the caller's functions are called.
    pub fn is_caller(&self) -> bool {
        thread::current().id() == self.thread
    }
}

impl Progress for Watch<'_> {
    fn report(&self, done: Done) {
        let Some(progress) = self.call.progress else { return };
        if self.is_caller() && !progress(self.call.user_data, done.bytes, done.total.unwrap_or(0)) {
            self.stop();
        }
    }

    fn cancelled(&self) -> bool {
        let cancelled = self.call.cancelled.as_ref().is_some_and(|cancelled| cancelled.load(Ordering::Relaxed));
        cancelled || self.stopped.load(Ordering::Relaxed) || self.call.is_late()
    }
}

/// Runs a call of C.
pub fn entry(error: Option<&mut *mut XvirtError>, work: impl FnOnce() -> Result<()>) -> XvirtStatus {
    let failure = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => {
            if let Some(error) = error {
                *error = std::ptr::null_mut();
            }
            return XvirtStatus::Ok;
        }
        Ok(Err(error)) => Failure::Error(error),
        Err(payload) => Failure::Panic(panic_message(&*payload)),
    };
    let status = failure.status();
    if let Some(error) = error {
        // The conversion is the library's own code, but nothing may unwind into C.
        *error = catch_unwind(AssertUnwindSafe(|| XvirtError::of(failure))).unwrap_or(std::ptr::null_mut());
    }
    status
}

fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// An error of a call of the core, some of which pass on that of the archive or of the operating system.
pub trait IntoError {
    fn into_error(self) -> Error;
}

impl IntoError for Error {
    fn into_error(self) -> Error {
        self
    }
}

impl IntoError for xvirt_xva::Error {
    fn into_error(self) -> Error {
        self.into()
    }
}

impl IntoError for io::Error {
    fn into_error(self) -> Error {
        Error::io("the operation failed", self)
    }
}

pub fn lift<T, E: IntoError>(result: std::result::Result<T, E>) -> Result<T> {
    result.map_err(IntoError::into_error)
}
