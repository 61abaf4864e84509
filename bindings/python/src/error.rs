//! Errors of the library as exceptions.

use std::error::Error as StdError;
use std::io;
use std::iter;

use pyo3::exceptions::{PyException, PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use xvirt_core::Error;

static RAISE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The exception for an error.
pub fn raised(error: Error) -> PyErr {
    Python::attach(|py| {
        // What ends the program, such as Ctrl-C in a file of the program, is no error of the call.
        let ends = |failure: &&PyErr| !failure.is_instance_of::<PyException>(py);
        match causes(&error).find_map(thrown).filter(ends) {
            Some(failure) => failure.clone_ref(py),
            None => exception(py, &error).unwrap_or_else(|failure| failure),
        }
    })
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
    if let Some(failure) = thrown(cause) {
        return failure.clone_ref(py);
    }
    match cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
        Some(number) => PyOSError::new_err((number, io::Error::from_raw_os_error(number).kind().to_string())),
        None => PyRuntimeError::new_err(cause.to_string()),
    }
}

/// The operating system's error behind an error.
fn errno(error: &Error) -> Option<i32> {
    causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error())
}

/// The exception that a file of the program has raised.
fn thrown<'a>(cause: &'a (dyn StdError + 'static)) -> Option<&'a PyErr> {
    cause.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()
}

/// What led to an error, the nearest first.
fn causes(error: &Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    iter::successors(cause_in(error), |&cause| match cause.downcast_ref::<Error>() {
        Some(error) => cause_in(error),
        None => cause.source(),
    })
}

fn cause_in(error: &Error) -> Option<&(dyn StdError + 'static)> {
    error.cause().map(|cause| cause as &(dyn StdError + 'static))
}
