//! Building VMs, and their events.

use std::os::fd::{AsFd, AsRawFd};

use pyo3::prelude::*;
use xvirt_core::config::VmConfig;

use crate::data::loaded_with_resources;
use crate::generated::{EventReceiver, Host};
use crate::work::Work;

/// A VM of a configuration.
#[pyfunction]
pub fn vm_config_build(config: &Bound<'_, PyAny>, host: &Bound<'_, Host>) -> PyResult<Work> {
    let (config, host) = (loaded_with_resources::<VmConfig>(config)?, host.get().slot.get()?);
    Ok(Work::free(move |_| config.build(&host)))
}

/// The descriptor of a receiver of events.
#[pyfunction]
pub fn event_receiver_fd(receiver: &Bound<'_, EventReceiver>) -> PyResult<i32> {
    Ok(receiver.get().slot.get()?.as_fd().as_raw_fd())
}
