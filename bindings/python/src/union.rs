//! Arguments that are one of several things: a VM that runs, one in a repository, a snapshot, a configuration.

use std::sync::Arc;

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use xvirt_core::config::VmConfig;
use xvirt_core::{repository, snapshot, template, vm, xva};

use crate::data::loaded_with_resources;
use crate::generated;
use crate::output::ToPython;

/// What a snapshot is taken of.
pub enum Subject {
    Stored(Arc<repository::StoredVm>),
    Vm(Arc<vm::Vm>),
}

/// What a VM is made of.
pub enum Original {
    Stored(Arc<repository::StoredVm>),
    Halted(Arc<vm::Vm>),
    Snapshot(Arc<repository::Snapshot>),
}

/// What a template is made of.
pub enum Source {
    Stored(Arc<repository::StoredVm>),
    Halted(Arc<vm::Vm>),
    Config(Box<VmConfig>),
}

pub fn subject(value: &Bound<'_, PyAny>) -> PyResult<Subject> {
    if let Some(vm) = running(value)? {
        return Ok(Subject::Vm(vm));
    }
    stored(value)?.map(Subject::Stored).ok_or_else(|| unexpected("a Vm or a StoredVm", value))
}

pub fn original(value: &Bound<'_, PyAny>) -> PyResult<Original> {
    if let Some(vm) = running(value)? {
        return Ok(Original::Halted(vm));
    }
    if let Ok(snapshot) = value.cast::<generated::Snapshot>() {
        return Ok(Original::Snapshot(snapshot.get().slot.get()?));
    }
    stored(value)?.map(Original::Stored).ok_or_else(|| unexpected("a StoredVm, a Vm or a Snapshot", value))
}

pub fn source(value: &Bound<'_, PyAny>) -> PyResult<Source> {
    if let Some(vm) = running(value)? {
        return Ok(Source::Halted(vm));
    }
    match stored(value)? {
        Some(vm) => Ok(Source::Stored(vm)),
        None => Ok(Source::Config(Box::new(loaded_with_resources(value)?))),
    }
}

impl Subject {
    pub fn get(&self) -> snapshot::Subject<'_> {
        match self {
            Self::Stored(vm) => vm.as_ref().into(),
            Self::Vm(vm) => vm.as_ref().into(),
        }
    }
}

impl Original {
    pub fn get(&self) -> template::Original<'_> {
        match self {
            Self::Stored(vm) => vm.as_ref().into(),
            Self::Halted(vm) => vm.as_ref().into(),
            Self::Snapshot(snapshot) => snapshot.as_ref().into(),
        }
    }
}

impl Source {
    pub fn get(&self) -> template::Source<'_> {
        match self {
            Self::Stored(vm) => vm.as_ref().into(),
            Self::Halted(vm) => vm.as_ref().into(),
            Self::Config(config) => config.as_ref().into(),
        }
    }
}

fn running(value: &Bound<'_, PyAny>) -> PyResult<Option<Arc<vm::Vm>>> {
    value.cast::<generated::Vm>().ok().map(|vm| vm.get().slot.get()).transpose()
}

fn stored(value: &Bound<'_, PyAny>) -> PyResult<Option<Arc<repository::StoredVm>>> {
    value.cast::<generated::StoredVm>().ok().map(|vm| vm.get().slot.get()).transpose()
}

fn unexpected(expected: &str, value: &Bound<'_, PyAny>) -> PyErr {
    let name = value.get_type().name().map_or_else(|_| "something else".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!("expected {expected}, not {name}"))
}

/// What an import made: the VM, and what could not be kept.
impl ToPython for xva::Imported {
    fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        (self.vm.to_python(py)?, self.remarks).into_bound_py_any(py)
    }
}
