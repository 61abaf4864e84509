//! An open disk image.

use std::io;
use std::sync::Arc;

use pyo3::prelude::*;
use xvirt_core::disk::{self, GuestSlice};
use xvirt_core::{Error, ErrorKind, Result};

use crate::output::{Bytes, ToPython};
use crate::slot::Slot;
use crate::work::{Watch, Work};

/// An open disk image.
#[pyclass(frozen, module = "xvirt._xvirt")]
pub struct BlockBackend {
    pub slot: Slot<Arc<dyn disk::BlockBackend>>,
}

#[pymethods]
impl BlockBackend {
    fn capacity(&self) -> PyResult<u64> {
        Ok(self.slot.get()?.capacity())
    }

    fn read_only(&self) -> PyResult<bool> {
        Ok(self.slot.get()?.read_only())
    }

    fn block_size(&self) -> PyResult<u32> {
        Ok(self.slot.get()?.block_size())
    }

    fn read_at(&self, offset: u64, size: usize) -> PyResult<Work> {
        let disk = self.slot.get()?;
        Ok(Work::new(self.slot.closing(), move |_| {
            within(disk.capacity(), offset, size)?;
            let what = || format!("cannot read {size} bytes from offset {offset} of a disk");
            let mut bytes = Vec::new();
            bytes.try_reserve_exact(size).map_err(|_| Error::io(what(), io::ErrorKind::OutOfMemory.into()))?;
            bytes.resize(size, 0);
            let read = disk.read(&[GuestSlice::from(bytes.as_mut_slice())], offset);
            read.map_err(|error| Error::io(what(), error))?;
            Ok(Bytes(bytes))
        }))
    }

    fn write_at(&self, offset: u64, mut bytes: Vec<u8>) -> PyResult<Work> {
        let disk = self.slot.get()?;
        Ok(Work::new(self.slot.closing(), move |_| {
            let size = bytes.len();
            within(disk.capacity(), offset, size)?;
            disk.write(&[GuestSlice::from(bytes.as_mut_slice())], offset)
                .map_err(|error| Error::io(format!("cannot write {size} bytes to offset {offset} of a disk"), error))
        }))
    }

    fn flush(&self) -> PyResult<Work> {
        let disk = self.slot.get()?;
        let flush = move |_: &Watch| disk.flush().map_err(|error| Error::io("cannot flush a disk", error));
        Ok(Work::new(self.slot.closing(), flush))
    }

    fn dispose(&self) -> Work {
        self.slot.close()
    }

    fn is_closed(&self) -> bool {
        self.slot.is_closed()
    }
}

/// Checks that a range is inside of a disk.
fn within(capacity: u64, offset: u64, size: usize) -> Result<()> {
    match offset.checked_add(size as u64) {
        Some(end) if end <= capacity => Ok(()),
        _ => {
            let what = format!("{size} bytes from offset {offset} exceed the disk of {capacity} bytes");
            Err(Error::new(ErrorKind::InvalidConfig, what))
        }
    }
}

impl ToPython for Arc<dyn disk::BlockBackend> {
    fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        Ok(Bound::new(py, BlockBackend { slot: Slot::new("disk image", self) })?.into_any())
    }
}
