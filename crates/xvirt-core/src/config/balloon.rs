//! The memory balloon: how a VM's memory changes while it runs.

use serde::{Deserialize, Serialize};

use super::machine::{MIN_MEMORY, PAGE};
use super::{ByteSize, MemoryBacking, invalid};
use crate::Result;

/// The memory balloon of a VM. The guest needs a driver for it, which Linux has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Balloon {
    /// Whether the VM has one. Without it its memory stays what it is, and nothing is known of how it is used.
    pub enabled: bool,
    /// How much of its memory the guest is to have at first, in steps of 4 KiB; all of it if this is absent.
    pub target: Option<ByteSize>,
    /// Seconds between two reports of the guest on its memory; with 0 it reports when it is asked to.
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

/// Checks that a VM of so much memory can have `target` of it.
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
            &format!("give between {MIN_MEMORY} and {memory}, in steps of {}", ByteSize::new(PAGE)),
        ));
    }
    Ok(())
}
