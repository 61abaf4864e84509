//! Reports I/O errors of the guest to the embedder.

use std::io;
use std::sync::Arc;

use crate::disk::IoOperation;

/// A request that a disk's backend failed. The guest got an I/O error.
#[derive(Debug)]
#[non_exhaustive]
pub struct IoError {
    /// The operation of the request.
    pub operation: IoOperation,
    /// The offset in bytes.
    pub offset: u64,
    /// The length in bytes.
    pub length: u64,
    /// The error of the backend.
    pub error: io::Error,
}

/// Receives every failed request, on the device's thread. It must not block.
pub type IoErrorSink = Arc<dyn Fn(IoError) + Send + Sync>;
