//! The disk (virtio 1.2, section 5.2).
//!
//! `device` is what the driver sees, `request` serves its queues, `error` is what the embedder hears when the host
//! fails to.

mod device;
mod error;
mod request;
#[cfg(test)]
mod tests;

pub(crate) use device::{Block, BlockState};
pub use error::IoOperation;
pub(crate) use error::{IoError, IoErrorSink};
