//! An open disk image.

use std::sync::Arc;

use pyo3::prelude::*;
use xvirt_core::disk;

use crate::output::ToPython;
use crate::slot::Slot;
use crate::work::Work;

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

    fn dispose(&self) -> Work {
        self.slot.close()
    }

    fn is_closed(&self) -> bool {
        self.slot.is_closed()
    }
}

impl ToPython for Arc<dyn disk::BlockBackend> {
    fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        Ok(Bound::new(py, BlockBackend { slot: Slot::new("disk image", self) })?.into_any())
    }
}
