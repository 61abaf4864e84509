//! Reading consoles.

use std::os::fd::AsRawFd;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::argument::limit;
use crate::error::raised;
use crate::generated::ConsoleReader;
use crate::output::Bytes;
use crate::slot::locked;
use crate::work::Work;

/// The most that is read at once: what a console keeps is not more, unless it was made larger.
const MOST: usize = 16 << 20;

/// The output that is there, at most `size` bytes; None if there is none yet, and no bytes at the end.
#[pyfunction]
pub fn console_try_read<'py>(
    py: Python<'py>,
    reader: &Bound<'py, ConsoleReader>,
    size: usize,
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let reader = reader.get().slot.get()?;
    let mut buffer = vec![0; size.min(MOST)];
    let count = locked(&reader).map_err(raised)?.try_read(&mut buffer);
    Ok(count.map(|count| PyBytes::new(py, &buffer[..count])))
}

/// Waits for output.
#[pyfunction]
pub fn console_read(reader: &Bound<'_, ConsoleReader>, size: usize, timeout: Option<f64>) -> PyResult<Work> {
    let (slot, timeout): (_, Duration) = (&reader.get().slot, limit(timeout)?);
    let reader = slot.get()?;
    Ok(Work::new(slot.closing(), move |_| {
        let mut buffer = vec![0; size.min(MOST)];
        let count = locked(&reader)?.read_timeout(&mut buffer, timeout)?;
        buffer.truncate(count);
        Ok(Bytes(buffer))
    }))
}

/// The descriptor of a reader.
#[pyfunction]
pub fn console_reader_fd(reader: &Bound<'_, ConsoleReader>) -> PyResult<i32> {
    let reader = reader.get().slot.get()?;
    let reader = locked(&reader).map_err(raised)?;
    Ok(reader.event_fd().map_err(raised)?.as_raw_fd())
}
