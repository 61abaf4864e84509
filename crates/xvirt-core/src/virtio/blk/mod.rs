//! The disk (virtio 1.2, section 5.2).
//!
//! `device` is what the driver sees, `request` understands what the driver asks for, `handler` has that done by the
//! disk's engine and keeps account of what is in flight, `error` is what the embedder hears when the host fails to,
//! `throttle` keeps it to its limit, `statistics` is what is counted.

mod device;
mod error;
mod handler;
mod request;
mod statistics;
#[cfg(test)]
mod tests;
mod throttle;

pub(crate) use device::Block;
pub(crate) use error::{IoError, IoErrorSink};
pub(crate) use statistics::OperationCounts;
