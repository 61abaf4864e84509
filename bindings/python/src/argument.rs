//! Objects of Python as arguments of the library.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use xvirt_core::config::Descriptor;
use xvirt_core::disk::{BlockBackend, ImageDescriptor};
use xvirt_core::net::FrameStream;

use crate::data::{invalid, loaded};

/// A limit in seconds; without one there is no limit.
pub fn limit(seconds: Option<f64>) -> PyResult<Duration> {
    seconds.map_or(Ok(Duration::MAX), duration)
}

/// A number of seconds.
pub fn duration(seconds: f64) -> PyResult<Duration> {
    if seconds == f64::INFINITY {
        return Ok(Duration::MAX);
    }
    Duration::try_from_secs_f64(seconds).map_err(|error| invalid(format!("{seconds} seconds are no duration: {error}")))
}

/// A moment in seconds since 1970.
pub fn moment(seconds: f64) -> PyResult<SystemTime> {
    let failed = || invalid(format!("{seconds} seconds after 1970 are no time of this system"));
    UNIX_EPOCH.checked_add(duration(seconds)?).ok_or_else(failed)
}

/// Text that the library parses, such as an address.
pub fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> PyResult<T> {
    text.parse().map_err(|error| invalid(format!("{text:?} is not valid: {error}")))
}

/// A copy of the descriptor of a file, socket or number.
pub fn descriptor(value: &Bound<'_, PyAny>) -> PyResult<Descriptor> {
    Ok(owned(value)?.into())
}

pub fn owned(value: &Bound<'_, PyAny>) -> PyResult<OwnedFd> {
    let number: i32 = match value.extract() {
        Ok(number) => number,
        Err(_) => value.call_method0("fileno")?.extract()?,
    };
    if number < 0 {
        return Err(invalid(format!("{number} is no descriptor of an open file")));
    }
    // SAFETY: the caller's object keeps the descriptor open during this call, which duplicates it. If the number is none of
    // an open file, that fails.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    borrowed.try_clone_to_owned().map_err(|error| invalid(format!("descriptor {number} cannot be used: {error}")))
}

/// Images as open files: a list of files and formats.
pub fn image_descriptors(value: &Bound<'_, PyAny>) -> PyResult<Vec<ImageDescriptor>> {
    let images: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)> = value.extract()?;
    images.iter().map(|(file, format)| Ok(ImageDescriptor::new(descriptor(file)?, loaded(format)?))).collect()
}

/// An open image.
pub fn backend(value: &Bound<'_, PyAny>) -> PyResult<Arc<dyn BlockBackend>> {
    let image = value.getattr("_native")?.cast_into::<crate::disk::BlockBackend>()?;
    Ok(Arc::clone(&*image.get().slot.get()?))
}

/// A connection that carries frames.
pub fn stream(value: &Bound<'_, PyAny>) -> PyResult<Arc<FrameStream>> {
    let stream = value.getattr("_native")?.cast_into::<crate::generated::FrameStream>()?;
    stream.get().slot.get()
}
