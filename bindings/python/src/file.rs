//! Files of Python as readers and writers: paths, files of the operating system, and any object with `read` or `write`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use xvirt_core::Error;

use crate::argument::owned;
use crate::error::raised;

/// How much is read from an object of Python at a time.
const CHUNK: usize = 1 << 20;

/// Something to read: the file at a path, an open file, or an object with `read`.
pub fn reader(value: &Bound<'_, PyAny>) -> PyResult<Box<dyn Read + Send>> {
    if let Ok(path) = value.extract::<PathBuf>() {
        let opened =
            File::open(&path).map_err(|error| raised(Error::io(format!("cannot open {}", path.display()), error)))?;
        return Ok(Box::new(opened));
    }
    if value.hasattr("readinto")? && value.hasattr("fileno")? && unbuffered(value)? {
        return Ok(Box::new(File::from(owned(value)?)));
    }
    Ok(Box::new(ObjectReader(value.clone().unbind())))
}

/// Something to write: a new file at a path, an open file, or an object with `write`.
pub fn writer(value: &Bound<'_, PyAny>) -> PyResult<Box<dyn Write + Send>> {
    if let Ok(path) = value.extract::<PathBuf>() {
        let created = File::create(&path)
            .map_err(|error| raised(Error::io(format!("cannot create {}", path.display()), error)))?;
        return Ok(Box::new(created));
    }
    if value.hasattr("fileno")? && unbuffered(value)? {
        return Ok(Box::new(File::from(owned(value)?)));
    }
    Ok(Box::new(ObjectWriter(value.clone().unbind())))
}

/// Whether an open file has no buffer of its own, whose contents would be passed over.
fn unbuffered(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.is_instance(&value.py().import("io")?.getattr("RawIOBase")?)
}

struct ObjectReader(Py<PyAny>);

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Python::attach(|py| {
            let read = self.0.bind(py).call_method1("read", (buffer.len().min(CHUNK),))?;
            let bytes = read.cast::<PyBytes>().map_err(PyErr::from)?.as_bytes();
            let target =
                buffer.get_mut(..bytes.len()).ok_or_else(|| io::Error::other("read() returned too many bytes"))?;
            target.copy_from_slice(bytes);
            Ok(bytes.len())
        })
    }
}

struct ObjectWriter(Py<PyAny>);

impl Write for ObjectWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Python::attach(|py| {
            let written = self.0.bind(py).call_method1("write", (PyBytes::new(py, bytes),))?;
            // Some objects return nothing, and have taken all.
            Ok(written.extract::<usize>().unwrap_or(bytes.len()))
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Python::attach(|py| self.0.bind(py).call_method0("flush").map(drop).map_err(Into::into))
    }
}
