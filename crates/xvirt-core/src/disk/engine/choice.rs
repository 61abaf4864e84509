//! The I/O engines for disks.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How the host executes the I/O of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IoEngine {
    /// io_uring, or threads if the host refuses io_uring.
    #[default]
    Auto,
    /// io_uring: the kernel executes all requests for existing parts of a file asynchronously. A few threads execute
    /// the rest, such as writes that allocate a qcow2 cluster.
    IoUring,
    /// Threads that make blocking calls, up to eight per disk.
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
