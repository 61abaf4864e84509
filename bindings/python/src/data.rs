//! Plain data: dictionaries and lists of Python to the library's types and back, by serde.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use pythonize::{Depythonizer, pythonize};
use serde::Serialize;
use serde::de::DeserializeOwned;
use xvirt_core::config::{Boot, BootFile, Disk, DiskSource, Nic, NicBackendConfig, VmConfig};
use xvirt_core::{Error, ErrorKind};

use crate::argument::{descriptor, image_descriptors, stream};
use crate::error::raised;
use crate::output::ToPython;

/// Data as an object of Python: dictionaries, lists, text and numbers.
pub fn dumped<'py, T: Serialize>(py: Python<'py>, value: &T) -> PyResult<Bound<'py, PyAny>> {
    pythonize(py, value).map_err(|error| invalid(format!("{} contains what is no data: {error}", short_name::<T>())))
}

/// A configuration, with the kernel that it has in memory.
impl ToPython for VmConfig {
    fn to_python(mut self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let mut images = Vec::new();
        if let Boot::Kernel { kernel, initrd, .. } = &mut self.boot {
            for (name, file) in [("kernel", Some(kernel)), ("initrd", initrd.as_mut())] {
                if let Some(file) = file
                    && let BootFile::Bytes(bytes) = file
                {
                    images.push((name, PyBytes::new(py, bytes)));
                    *file = BootFile::Path(PathBuf::new());
                }
            }
        }
        let config = dumped(py, &self)?;
        for (name, bytes) in images {
            let variant = PyDict::new(py);
            variant.set_item("bytes", bytes)?;
            config.get_item("boot")?.get_item("kernel")?.set_item(name, variant)?;
        }
        Ok(config)
    }
}

/// The data in an object of Python; unknown fields are errors.
pub fn loaded<T: DeserializeOwned>(value: &Bound<'_, PyAny>) -> PyResult<T> {
    let mut unknown = Vec::new();
    let mut reader = Depythonizer::from_object(value);
    let note = |path: serde_ignored::Path<'_>| unknown.push(path.to_string().replace("?.", ""));
    let data = serde_ignored::deserialize(&mut reader, note)
        .map_err(|error| invalid(format!("invalid value for {}: {error}", short_name::<T>())))?;
    if unknown.is_empty() { Ok(data) } else { Err(invalid(format!("unknown fields: {}", unknown.join(", ")))) }
}

/// The name of a type as its users know it.
fn short_name<T>() -> &'static str {
    let name = std::any::type_name::<T>();
    name.rsplit("::").next().unwrap_or(name)
}

pub fn invalid(what: impl Into<String>) -> PyErr {
    raised(Error::new(ErrorKind::InvalidConfig, what))
}

/// What a configuration contains that is no data, and where.
type Resource<'py> = (Vec<Step>, String, Bound<'py, PyAny>);

/// A step on the way to a resource.
#[derive(Debug, FromPyObject)]
pub enum Step {
    Index(usize),
    Field(String),
}

/// Data that may contain resources.
pub trait WithResources: DeserializeOwned {
    /// Puts a resource where it belongs.
    fn put(&mut self, path: &[Step], kind: &str, value: &Bound<'_, PyAny>) -> PyResult<()>;
}

/// Data with the resources that belong into it, as Python passes them: `(data, resources)`.
pub fn loaded_with_resources<T: WithResources>(value: &Bound<'_, PyAny>) -> PyResult<T> {
    let (plain, resources): (Bound<'_, PyAny>, Vec<Resource<'_>>) = value.extract()?;
    let mut data: T = loaded(&plain)?;
    for (path, kind, resource) in resources {
        data.put(&path, &kind, &resource)?;
    }
    Ok(data)
}

impl WithResources for VmConfig {
    fn put(&mut self, path: &[Step], kind: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let fields = field_names(path);
        match (fields.as_slice(), path) {
            (["boot", "kernel", part], _) => self.put_boot_file(part, kind, value),
            (["disks", ..], [_, Step::Index(index), rest @ ..]) => match self.disks.get_mut(*index) {
                Some(disk) => disk.put(rest, kind, value),
                None => Err(misplaced(path)),
            },
            (["nics", ..], [_, Step::Index(index), rest @ ..]) => match self.nics.get_mut(*index) {
                Some(nic) => nic.put(rest, kind, value),
                None => Err(misplaced(path)),
            },
            (["memory_backing", "file"], _) => {
                self.memory_backing.file = Some(descriptor(value)?);
                Ok(())
            }
            (["vsock", "listener"], _) => {
                if let Some(vsock) = &mut self.vsock {
                    vsock.listener = Some(descriptor(value)?);
                }
                Ok(())
            }
            _ => Err(misplaced(path)),
        }
    }
}

/// The files of a kernel to boot.
trait PutBootFile {
    fn put_boot_file(&mut self, part: &str, kind: &str, value: &Bound<'_, PyAny>) -> PyResult<()>;
}

impl PutBootFile for VmConfig {
    fn put_boot_file(&mut self, part: &str, kind: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let Boot::Kernel { kernel, initrd, .. } = &mut self.boot else {
            return Err(invalid("a kernel belongs into a configuration that boots one"));
        };
        let file = match kind {
            "bytes" => BootFile::Bytes(value.extract::<Vec<u8>>()?.into()),
            _ => BootFile::Descriptor(descriptor(value)?),
        };
        match part {
            "kernel" => *kernel = file,
            _ => *initrd = Some(file),
        }
        Ok(())
    }
}

impl WithResources for Disk {
    fn put(&mut self, path: &[Step], kind: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.source = match (field_names(path).as_slice(), kind) {
            (["source"], "descriptors") => DiskSource::Descriptors(image_descriptors(value)?),
            (["source"], "backend") => DiskSource::Backend(crate::argument::backend(value)?),
            _ => return Err(misplaced(path)),
        };
        Ok(())
    }
}

impl WithResources for Nic {
    fn put(&mut self, path: &[Step], kind: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.backend = match (field_names(path).as_slice(), kind) {
            (["backend"], "tap_descriptor") => NicBackendConfig::TapDescriptor(descriptor(value)?),
            (["backend"], "connection") => NicBackendConfig::Connection(stream(value)?),
            _ => return Err(misplaced(path)),
        };
        Ok(())
    }
}

fn field_names(path: &[Step]) -> Vec<&str> {
    path.iter().filter_map(|step| if let Step::Field(name) = step { Some(name.as_str()) } else { None }).collect()
}

fn misplaced(path: &[Step]) -> PyErr {
    invalid(format!("a file or object of Python does not belong at {path:?}"))
}

/// Checks data and completes it with defaults.
pub fn normalized<'py, T: DeserializeOwned + Serialize>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    dumped(value.py(), &loaded::<T>(value)?)
}
