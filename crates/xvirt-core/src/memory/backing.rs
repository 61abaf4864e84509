//! The host memory behind guest memory.

use serde::{Deserialize, Serialize};

use crate::descriptor::Descriptor;

/// The host memory behind guest memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct MemoryBacking {
    /// Uses reserved huge pages of 2 MiB.
    pub huge_pages: bool,
    /// Uses a shareable memory file instead of private pages.
    pub shared: bool,
    /// Includes guest memory, and so the guest's data, in core dumps of this process. Child processes never inherit
    /// guest memory.
    pub core_dumps: bool,
    /// An open file that holds the memory. See [`VmConfig::memory_file`](crate::config::VmConfig::memory_file).
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub file: Option<Descriptor>,
}

impl MemoryBacking {
    pub(crate) fn needs_file(&self) -> bool {
        self.huge_pages || self.shared || self.file.is_some()
    }
}
