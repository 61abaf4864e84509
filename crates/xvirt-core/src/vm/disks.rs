//! What can be asked of the disks of a running VM.

use super::assemble::DiskDevice;
use super::handle::Vm;
use crate::config::IoEngine;

/// A disk of a running VM.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskStatus {
    /// Its position.
    pub position: usize,
    /// What does its input and output: never [`Auto`](IoEngine::Auto).
    pub engine: IoEngine,
    /// Whether the guest's data goes past the host's page cache.
    pub direct: bool,
}

impl Vm {
    /// The disks in use, in the order of their positions; empty while the VM is halted.
    pub fn disks(&self) -> Vec<DiskStatus> {
        let Ok(power) = self.lock() else { return Vec::new() };
        let running = power.running.iter().flat_map(|running| &running.disks);
        let status = |(position, device): (&usize, &DiskDevice)| {
            let direct = power.attached.disks.get(position).is_some_and(|disk| disk.device.direct);
            DiskStatus { position: *position, engine: device.block.engine(), direct }
        };
        running.map(status).collect()
    }
}
