//! The native half of the Python package `xvirt`.
//!
//! What users see is written in Python (`python/xvirt`). This half is below it: a class for each handle of
//! `xvirt_core`, whose methods take plain values and return either plain values or `Work`, a call that has
//! not run yet and that Python runs or awaits. Most of it (`generated.rs`) follows from the Rust API.

#![allow(missing_debug_implementations, missing_docs, reason = "only Python sees what is in here")]

use pyo3::prelude::*;

mod argument;
mod boot;
mod callback;
mod console;
mod data;
mod disk;
mod error;
mod file;
mod generated;
mod log;
mod migrate;
mod output;
mod program_disk;
mod slot;
mod union;
mod vm;
mod work;

#[pymodule(gil_used = true)]
mod _xvirt {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::boot::BootMenu;
    #[pymodule_export]
    use crate::callback::{agent_run_streamed, repository_update};
    #[pymodule_export]
    use crate::console::{console_read, console_reader_fd, console_try_read};
    #[pymodule_export]
    use crate::disk::BlockBackend;
    #[pymodule_export]
    use crate::log::{forward_log, set_log_level};
    #[pymodule_export]
    use crate::migrate::{Channel, Tls, migrate_receive, vm_check_migration, vm_migrate};
    #[pymodule_export]
    use crate::program_disk::program_disk;
    #[pymodule_export]
    use crate::vm::{event_receiver_fd, vm_config_build};
    #[pymodule_export]
    use crate::work::{Completions, Work};

    /// The kernel of the demo guest.
    #[pyfunction]
    fn demo_kernel(py: Python<'_>) -> Bound<'_, pyo3::types::PyBytes> {
        pyo3::types::PyBytes::new(py, xvirt_core::demo::kernel())
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        refuse_free_threaded(module.py())?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        crate::generated::add_to(module)
    }
    /// This half has not been tested in interpreters without a global lock.
    fn refuse_free_threaded(py: Python<'_>) -> PyResult<()> {
        let flags: String = py.import("sys")?.getattr("abiflags")?.extract()?;
        if !flags.contains('t') {
            return Ok(());
        }
        Err(pyo3::exceptions::PyImportError::new_err(
            "xvirt does not support free-threaded builds of Python, such as python3.14t; use an ordinary one",
        ))
    }
}
