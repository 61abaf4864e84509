//! Calls that call functions of Python.

use std::ops::ControlFlow;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use xvirt_core::agent::GuestCommand;
use xvirt_core::{Error, ErrorKind};

use crate::argument::parsed;
use crate::data::{dumped, loaded, loaded_with_resources};
use crate::generated::{GuestAgent, Repository};
use crate::work::Work;

/// Runs a command in the guest and calls `output` with the name of the stream and each piece of output. It returns
/// False to end the command.
#[pyfunction]
pub fn agent_run_streamed(
    agent: &Bound<'_, GuestAgent>,
    command: &Bound<'_, PyAny>,
    output: Py<PyAny>,
) -> PyResult<Work> {
    let slot = &agent.get().slot;
    let (agent, command) = (slot.get()?, loaded::<GuestCommand>(command)?);
    Ok(Work::new(slot.closing(), move |watch| {
        agent.run_streamed(&command, |stream, bytes| {
            let called = Python::attach(|py| {
                let answer = output.bind(py).call1((dumped(py, &stream)?, PyBytes::new(py, bytes)))?;
                Ok(answer.is_none() || answer.is_truthy()?)
            });
            match called {
                Ok(true) => ControlFlow::Continue(()),
                Ok(false) => ControlFlow::Break(()),
                Err(failure) => {
                    watch.fail(failure);
                    ControlFlow::Break(())
                }
            }
        })
    }))
}

/// Changes the configuration of a VM: `change` gets it and returns another one.
#[pyfunction]
pub fn repository_update(repository: &Bound<'_, Repository>, uuid: &str, change: Py<PyAny>) -> PyResult<Work> {
    let slot = &repository.get().slot;
    let (repository, uuid) = (slot.get()?, parsed(uuid)?);
    Ok(Work::new(slot.closing(), move |watch| {
        repository.update(uuid, |config| {
            let changed = Python::attach(|py| {
                let answer = change.bind(py).call1((dumped(py, config)?,))?;
                loaded_with_resources(&answer)
            });
            *config = changed.map_err(|failure| {
                watch.fail(failure);
                Error::new(ErrorKind::Cancelled, "the change of the configuration failed")
            })?;
            Ok(())
        })
    }))
}
