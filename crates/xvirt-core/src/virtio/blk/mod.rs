//! The disk (virtio 1.2, section 5.2).
//!
//! `device` is the driver-visible side. `request` parses requests; `handler` submits them to the disk's engine and
//! tracks those in flight. `throttle` applies the rate limit, `error` reports host errors to the embedder, and
//! `statistics` counts requests.

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
pub(crate) use statistics::{BlockCounters, OperationCounts};
