//! How the host does the input and output of a disk.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How the host does the input and output of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IoEngine {
    /// io_uring, or threads where the host refuses that.
    #[default]
    Auto,
    /// io_uring: all requests of a disk that touch existing parts of a file are the kernel's at once. What it cannot do
    /// by itself, such as allocating a qcow2 cluster, a few threads do.
    IoUring,
    /// Threads that make blocking calls, up to eight for a disk.
    Threads,
}

impl fmt::Display for IoEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::IoUring => "io_uring",
            Self::Threads => "threads",
        })
    }
}
