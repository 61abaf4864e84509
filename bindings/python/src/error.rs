//! Errors of the library as exceptions.

use std::error::Error as StdError;
use std::io;

use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use xvirt_core::Error;

static RAISE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The exception for an error.
pub fn raised(error: Error) -> PyErr {
    Python::attach(|py| exception(py, &error).unwrap_or_else(|failure| failure))
}

fn exception(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let make =
        RAISE.get_or_try_init(py, || Ok::<_, PyErr>(py.import("xvirt._errors")?.getattr("exception")?.unbind()))?;
    let arguments = (error.kind().name(), error.to_string(), error.message(), error.remedy(), errno(error));
    let exception = PyErr::from_value(make.bind(py).call1(arguments)?);
    if let Some(cause) = error.cause() {
        exception.set_cause(py, Some(cause_of(py, cause)));
    }
    Ok(exception)
}

fn cause_of(py: Python<'_>, cause: &(dyn StdError + 'static)) -> PyErr {
    if let Some(error) = cause.downcast_ref::<Error>() {
        return exception(py, error).unwrap_or_else(|failure| failure);
    }
    match cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
        Some(number) => PyOSError::new_err((number, io::Error::from_raw_os_error(number).kind().to_string())),
        None => PyRuntimeError::new_err(cause.to_string()),
    }
}

/// The operating system's error behind an error.
fn errno(error: &Error) -> Option<i32> {
    let mut cause = error.cause().map(|cause| cause as &(dyn StdError + 'static));
    while let Some(next) = cause {
        if let Some(number) = next.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(number);
        }
        cause = match next.downcast_ref::<Error>() {
            Some(error) => error.cause().map(|cause| cause as &(dyn StdError + 'static)),
            None => next.source(),
        };
    }
    None
}
