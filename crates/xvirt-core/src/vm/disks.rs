//! Lists the disks of a running VM.

use serde::{Deserialize, Serialize};

use super::devices::DiskSlot;
use super::handle::Vm;
use crate::config::IoEngine;

/// A disk of a running VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DiskStatus {
    /// Its position.
    pub position: usize,
    /// The engine for its I/O: never [`Auto`](IoEngine::Auto).
    pub engine: IoEngine,
    /// Whether the guest's data bypasses the host's page cache.
    pub direct: bool,
}

impl DiskStatus {
    /// The status of a disk in a machine; `None` if it is in none.
    pub(super) fn of(position: usize, disk: &DiskSlot) -> Option<Self> {
        let engine = disk.device.as_ref()?.block.engine();
        Some(Self { position, engine, direct: disk.config.direct })
    }
}

impl Vm {
    /// The disks in the machine, ordered by position; empty while the VM is halted.
    pub fn disks(&self) -> Vec<DiskStatus> {
        self.live().map_or_else(|_| Vec::new(), |live| live.disks())
    }
}
