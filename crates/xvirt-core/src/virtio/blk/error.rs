//! How the embedder learns that the guest got an I/O error.

use std::io;
use std::sync::Arc;

use crate::disk::IoOperation;

/// A request that a disk's backend failed, and the guest was told so.
#[derive(Debug)]
#[non_exhaustive]
pub struct IoError {
    /// What was asked.
    pub operation: IoOperation,
    /// Where, in bytes.
    pub offset: u64,
    /// How much, in bytes.
    pub length: u64,
    /// Why it failed.
    pub error: io::Error,
}

/// Hears of every failed request, on the device's thread: it must not block.
pub type IoErrorSink = Arc<dyn Fn(IoError) + Send + Sync>;
