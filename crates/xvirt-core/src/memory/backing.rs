//! What backs guest memory on the host.

use serde::{Deserialize, Serialize};

use crate::descriptor::Descriptor;

/// What backs guest memory on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct MemoryBacking {
    /// Uses the host's huge pages of 2 MiB, which must have been reserved.
    pub huge_pages: bool,
    /// Keeps memory in a shareable memory file instead of private pages.
    pub shared: bool,
    /// Includes guest memory in core dumps of this process, which then hold the guest's data. Child processes do not
    /// inherit guest memory in either case.
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
