//! The memory balloon, which changes a VM's memory while it runs.

use serde::{Deserialize, Serialize};

use super::machine::{MIN_MEMORY, PAGE};
use super::{ByteSize, MemoryBacking, invalid};
use crate::Result;

/// The memory balloon of a VM. The guest needs a driver for it, which Linux has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Balloon {
    /// Whether the VM has a balloon. Without one, its memory size is fixed, and there are no statistics about its use.
    pub enabled: bool,
    /// The initial size of the guest's memory, in steps of 4 KiB; all of its memory if absent.
    pub target: Option<ByteSize>,
    /// Seconds between the guest's memory statistics; with 0 it sends them only on request.
    pub statistics_seconds: u32,
}

impl Default for Balloon {
    fn default() -> Self {
        Self { enabled: true, target: None, statistics_seconds: 0 }
    }
}

impl Balloon {
    pub(super) fn check(&self, memory: ByteSize, backing: &MemoryBacking) -> Result<()> {
        match self.target {
            Some(_) if !self.enabled => {
                Err(invalid("a VM without a balloon cannot have a memory target", "enable its balloon"))
            }
            Some(target) => check_memory_target(target, memory, backing),
            None => Ok(()),
        }
    }
}

/// Checks `target` as the memory target of a VM with `memory`.
pub(crate) fn check_memory_target(target: ByteSize, memory: ByteSize, backing: &MemoryBacking) -> Result<()> {
    if backing.huge_pages && target != memory {
        return Err(invalid(
            format!("the memory target {target} cannot be reached, because reserved huge pages stay reserved"),
            "turn huge pages off for this VM: the host uses transparent ones where it can",
        ));
    }
    if target < MIN_MEMORY || target > memory || !target.bytes().is_multiple_of(PAGE) {
        return Err(invalid(
            format!("a VM of {memory} cannot have a memory target of {target}"),
            &format!("use a target between {MIN_MEMORY} and {memory}, in steps of {}", ByteSize::new(PAGE)),
        ));
    }
    Ok(())
}
