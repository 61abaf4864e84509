//! Values of the library as objects of Python.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList};
use xvirt_core::config::{ByteSize, Uuid};
use xvirt_core::net::MacAddress;

/// A value that Python can have.
pub trait ToPython {
    fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>>;
}

/// Bytes, which are no list of numbers.
pub struct Bytes(pub Vec<u8>);

impl ToPython for Bytes {
    fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        Ok(PyBytes::new(py, &self.0).into_any())
    }
}

impl ToPython for () {
    fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        Ok(py.None().into_bound(py))
    }
}

macro_rules! as_is {
    ($($name:ty),*) => {$(
        impl ToPython for $name {
            fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
                self.into_bound_py_any(py)
            }
        }
    )*};
}

as_is!(bool, u8, u16, u32, u64, usize, i32, i64, f64, String, &str);

/// Plain data of the library, as Python's classes load it.
#[macro_export]
macro_rules! plain {
    ($($name:ty),* $(,)?) => {$(
        impl $crate::output::ToPython for $name {
            fn to_python(self, py: pyo3::Python<'_>) -> pyo3::PyResult<pyo3::Bound<'_, pyo3::PyAny>> {
                $crate::data::dumped(py, &self)
            }
        }
    )*};
}

plain!(Duration, SystemTime, Uuid, MacAddress, IpAddr);

impl ToPython for ByteSize {
    fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        self.bytes().to_python(py)
    }
}

impl ToPython for PathBuf {
    fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        self.into_os_string().into_bound_py_any(py)
    }
}

impl ToPython for &Path {
    fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        self.as_os_str().into_bound_py_any(py)
    }
}

/// A socket, as the number of its descriptor, which the caller owns.
impl ToPython for UnixStream {
    fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        self.into_raw_fd().to_python(py)
    }
}

/// A descriptor that the library keeps.
impl ToPython for BorrowedFd<'_> {
    fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        std::os::fd::AsRawFd::as_raw_fd(&self).to_python(py)
    }
}

impl<T: ToPython> ToPython for Option<T> {
    fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        match self {
            Some(value) => value.to_python(py),
            None => ().to_python(py),
        }
    }
}

impl<T: ToPython> ToPython for Vec<T> {
    fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let list = PyList::empty(py);
        for value in self {
            list.append(value.to_python(py)?)?;
        }
        Ok(list.into_any())
    }
}

impl<T: ToPython + Clone> ToPython for &[T] {
    fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        self.to_vec().to_python(py)
    }
}

impl<T: ToPython + Clone> ToPython for &T {
    fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        self.clone().to_python(py)
    }
}

impl<K: ToPython, V: ToPython> ToPython for BTreeMap<K, V> {
    fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let map = PyDict::new(py);
        for (key, value) in self {
            map.set_item(key.to_python(py)?, value.to_python(py)?)?;
        }
        Ok(map.into_any())
    }
}

/// A class that the native half itself makes.
#[macro_export]
macro_rules! handle_output {
    ($name:ident) => {
        impl $crate::output::ToPython for $name {
            fn to_python(self, py: pyo3::Python<'_>) -> pyo3::PyResult<pyo3::Bound<'_, pyo3::PyAny>> {
                Ok(pyo3::Bound::new(py, self)?.into_any())
            }
        }
    };
}

/// The members of a class of Python that is an enum without data, in the order of the variants.
pub struct Members {
    class: &'static str,
    members: PyOnceLock<Vec<Py<PyAny>>>,
}

impl Members {
    pub const fn new(class: &'static str) -> Self {
        Self { class, members: PyOnceLock::new() }
    }

    /// The member for the variant with this number.
    pub fn member<'py>(&self, py: Python<'py>, number: usize) -> PyResult<Bound<'py, PyAny>> {
        let members = self.members.get_or_try_init(py, || {
            let class = py.import("xvirt._generated.data")?.getattr(self.class)?;
            class.try_iter()?.map(|member| Ok::<_, PyErr>(member?.unbind())).collect()
        })?;
        let missing = || PyValueError::new_err(format!("{} has no member with the number {number}", self.class));
        members.get(number).map(|member| member.bind(py).clone()).ok_or_else(missing)
    }
}

/// The members of a class, which are looked up once.
#[macro_export]
macro_rules! members {
    ($class:literal) => {{
        static MEMBERS: $crate::output::Members = $crate::output::Members::new($class);
        &MEMBERS
    }};
}
