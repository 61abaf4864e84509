//! Disks that a program of Python implements.

use std::fmt;
use std::io;
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};
use xvirt_core::disk::{self, GuestSlice};

use crate::data::invalid;
use crate::output::ToPython;

/// How much is zeroed by one write, if the program has no method for zeroes.
const ZEROES: u64 = 1 << 20;

/// An object of Python with the methods of `xvirt.ProgramDisk`.
struct ProgramDisk {
    object: Py<PyAny>,
    capacity: u64,
    block_size: u32,
    read_only: bool,
    discards: bool,
    writes_zeroes: bool,
}

/// A disk of an object.
#[pyfunction]
pub fn program_disk<'py>(
    py: Python<'py>,
    object: Bound<'py, PyAny>,
    read_only: bool,
    block_size: u32,
) -> PyResult<Bound<'py, PyAny>> {
    let required: &[&str] =
        if read_only { &["length", "read_at"] } else { &["length", "read_at", "write_at", "flush"] };
    for name in required {
        if !object.hasattr(*name)? {
            let class = object.get_type().name()?.to_string();
            return Err(invalid(format!(
                "disk: an object of the class {class} has no method {name}; help(xvirt.ProgramDisk) says what a disk needs"
            )));
        }
    }
    let capacity: u64 = object.call_method0("length")?.extract()?;
    if capacity == 0 || !capacity.is_multiple_of(512) {
        return Err(invalid(format!("the disk has a length of {capacity} bytes, but it must be a multiple of 512")));
    }
    if !block_size.is_power_of_two() || block_size < 512 {
        return Err(invalid(format!("block_size is {block_size}, but it must be a power of two, at least 512")));
    }
    let (discards, writes_zeroes) = (object.hasattr("discard")?, object.hasattr("write_zeroes")?);
    let object = object.unbind();
    let disk = ProgramDisk { object, capacity, block_size, read_only, discards, writes_zeroes };
    let disk: Arc<dyn disk::BlockBackend> = Arc::new(disk);
    disk.to_python(py)
}

impl ProgramDisk {
    /// Calls the program with the lock of the interpreter. Its exceptions become I/O errors.
    fn call<T>(&self, call: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<T>) -> io::Result<T> {
        // A VM that the program did not close may run until the interpreter is gone.
        Python::try_attach(|py| {
            let object = self.object.bind(py);
            call(object).map_err(|failure| failed(object, failure))
        })
        .unwrap_or_else(|| Err(io::Error::other("the Python interpreter is ending")))
    }

    fn write_at(&self, offset: u64, length: usize, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        if self.read_only {
            return Err(rustix::io::Errno::ROFS.into());
        }
        self.call(|object| {
            let fill = |bytes: &mut [u8]| {
                fill(bytes);
                Ok(())
            };
            let bytes = PyBytes::new_with(object.py(), length, fill)?;
            object.call_method1("write_at", (offset, bytes)).map(drop)
        })
    }
}

impl disk::BlockBackend for ProgramDisk {
    fn capacity(&self) -> u64 {
        self.capacity
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn block_size(&self) -> u32 {
        self.block_size
    }

    fn read(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        let length: usize = buffers.iter().map(GuestSlice::len).sum();
        self.call(|object| {
            let answer = object.call_method1("read_at", (offset, length))?;
            let bytes = bytes_of(&answer)?;
            let mut rest = bytes.as_bytes();
            if rest.len() != length {
                let text = format!("read_at({offset}, {length}) returned {} bytes", rest.len());
                return Err(PyValueError::new_err(text));
            }
            for buffer in buffers {
                let (part, others) = rest.split_at(buffer.len());
                buffer.copy_from(part);
                rest = others;
            }
            Ok(())
        })
    }

    fn write(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        let length = buffers.iter().map(GuestSlice::len).sum();
        self.write_at(offset, length, |bytes| {
            let mut rest = bytes;
            for buffer in buffers {
                let (part, others) = rest.split_at_mut(buffer.len());
                buffer.copy_to(part);
                rest = others;
            }
        })
    }

    fn flush(&self) -> io::Result<()> {
        if self.read_only {
            return Ok(());
        }
        self.call(|object| object.call_method0("flush").map(drop))
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        if !self.discards {
            return Ok(());
        }
        self.call(|object| object.call_method1("discard", (offset, length)).map(drop))
    }

    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
        if self.writes_zeroes && !self.read_only {
            return self.call(|object| object.call_method1("write_zeroes", (offset, length, unmap)).map(drop));
        }
        let mut done = 0;
        while done < length {
            let part = ZEROES.min(length - done);
            // New bytes of Python are zeroes.
            self.write_at(offset + done, usize::try_from(part).unwrap_or(usize::MAX), |_| ())?;
            done += part;
        }
        Ok(())
    }
}

/// The bytes that a method returned, as bytes or another object with a buffer.
fn bytes_of<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    match value.cast::<PyBytes>() {
        Ok(bytes) => Ok(bytes.clone()),
        Err(_) => Ok(PyMemoryView::from(value)?.call_method0("tobytes")?.cast_into()?),
    }
}

/// The I/O error for an exception.
fn failed(object: &Bound<'_, PyAny>, failure: PyErr) -> io::Error {
    let number = failure.value(object.py()).getattr("errno").and_then(|number| number.extract::<i32>());
    if let Ok(number @ 1..) = number {
        return io::Error::from_raw_os_error(number);
    }
    let error = io::Error::other(failure.to_string());
    // Nobody catches it on the thread of a device, and other exceptions than that of an I/O error are mistakes.
    failure.write_unraisable(object.py(), Some(object));
    error
}

impl fmt::Debug for ProgramDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a disk of the program with {} bytes", self.capacity)
    }
}
