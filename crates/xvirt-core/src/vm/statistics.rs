//! Counters of a running VM.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::assemble::{DiskDevice, NicDevice};
use super::devices::Devices;
use super::handle::Vm;
use super::live::Running;
use super::memory::MemoryStatistics;
use crate::disk::IoOperation;
use crate::latency::Latencies;
use crate::machine::ExitCounts;
use crate::virtio::{DeviceKind, FrameCounters, OperationCounts};

/// Counters of a VM since it was started.
///
/// All counters start at zero when the VM starts, continue across reboots and pauses, and are discarded when it halts.
/// Those of a device start when it is plugged in. They are read one after the other while the guest runs, so two of
/// them may differ by what happened in between. Sizes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Statistics {
    /// The time since it was started; zero while it is halted.
    pub uptime: Duration,
    /// Its vCPUs, in order.
    pub vcpus: Vec<VcpuStatistics>,
    /// Its memory, if it has a balloon.
    pub memory: Option<MemoryStatistics>,
    /// Its disks by their positions.
    pub disks: BTreeMap<usize, DiskStatistics>,
    /// Its network interfaces by their positions.
    pub nics: BTreeMap<usize, NicStatistics>,
    /// Its other devices.
    pub devices: Vec<DeviceStatistics>,
}

/// One vCPU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VcpuStatistics {
    /// The host CPU time it has used, in the guest and on its behalf.
    pub cpu_time: Duration,
    /// The number of exits to user space, by reason.
    pub exits: ExitStatistics,
}

/// The number of a vCPU's exits to user space, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExitStatistics {
    /// It read an I/O port.
    pub port_reads: u64,
    /// It wrote an I/O port.
    pub port_writes: u64,
    /// It read device memory (MMIO).
    pub memory_reads: u64,
    /// It wrote device memory (MMIO).
    pub memory_writes: u64,
    /// It halted. KVM usually handles that in the kernel, so this stays 0.
    pub halts: u64,
    /// It was interrupted for a pause or another verb.
    pub interrupted: u64,
    /// Any other reason.
    pub others: u64,
}

/// One disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DiskStatistics {
    /// Reads.
    pub reads: OperationStatistics,
    /// Writes.
    pub writes: OperationStatistics,
    /// Flushes, which make completed writes durable.
    pub flushes: OperationStatistics,
    /// Discards.
    pub discards: OperationStatistics,
    /// Writes of zeroes.
    pub zeroes: OperationStatistics,
    /// The host CPU time its thread has used.
    pub cpu_time: Duration,
}

/// One type of request to a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OperationStatistics {
    /// The number of completed requests.
    pub operations: u64,
    /// The number of bytes they covered.
    pub bytes: u64,
    /// The number of failed requests, because of the host or because the guest's request was invalid.
    pub errors: u64,
    /// The time from the guest's queue to the answer, including failed requests.
    pub latency: Latencies,
}

/// One network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NicStatistics {
    /// Frames that the guest received.
    pub received: FrameStatistics,
    /// Frames that the guest sent.
    pub sent: FrameStatistics,
    /// The host CPU time its thread has used.
    pub cpu_time: Duration,
}

/// One direction of a network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FrameStatistics {
    /// The number of Ethernet frames that passed.
    pub frames: u64,
    /// The number of bytes in them.
    pub bytes: u64,
    /// The number of frames that were dropped: the link was down, the guest's buffers were too small, or the host
    /// rejected them.
    pub dropped: u64,
}

/// Any other device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeviceStatistics {
    /// Its name, such as `virtio-console`.
    pub name: String,
    /// The host CPU time its thread has used.
    pub cpu_time: Duration,
}

impl Vm {
    /// The counters since the VM was started; empty while it is halted.
    ///
    /// Cheap enough to call every second: it takes some microseconds, one system call for each of the VM's threads, and
    /// never disturbs the guest. It waits for a verb that is changing the VM's power state.
    pub fn statistics(&self) -> Statistics {
        self.live().map_or_else(|_| Statistics::default(), |live| live.statistics())
    }
}

impl Statistics {
    pub(super) fn of(running: &Running, devices: &Devices) -> Self {
        let has_own = |kind| matches!(kind, DeviceKind::Block | DeviceKind::Net);
        let functions = running.machine.functions();
        let others = functions.iter().filter(|function| !has_own(function.kind()));
        let device = |name: &str, cpu_time| DeviceStatistics { name: name.to_owned(), cpu_time };
        Self {
            uptime: running.since.elapsed(),
            vcpus: running
                .machine
                .vcpu_statistics()
                .map(|(exits, cpu_time)| VcpuStatistics { cpu_time, exits: exits.into() })
                .collect(),
            memory: running.balloon.as_ref().map(|device| MemoryStatistics::of(&device.balloon, running.memory)),
            disks: devices.disks.iter().filter_map(|(at, disk)| Some((*at, disk.device.as_ref()?.into()))).collect(),
            nics: devices.nics.iter().filter_map(|(at, nic)| Some((*at, nic.device.as_ref()?.into()))).collect(),
            devices: others.map(|function| device(function.kind().name(), function.worker_time())).collect(),
        }
    }
}

impl From<ExitCounts> for ExitStatistics {
    fn from(counts: ExitCounts) -> Self {
        let ExitCounts { port_reads, port_writes, memory_reads, memory_writes, halts, interrupted, others } = counts;
        Self { port_reads, port_writes, memory_reads, memory_writes, halts, interrupted, others }
    }
}

impl From<&DiskDevice> for DiskStatistics {
    fn from(disk: &DiskDevice) -> Self {
        let of = |operation| disk.block.counters().read(operation).into();
        Self {
            reads: of(IoOperation::Read),
            writes: of(IoOperation::Write),
            flushes: of(IoOperation::Flush),
            discards: of(IoOperation::Discard),
            zeroes: of(IoOperation::WriteZeroes),
            cpu_time: disk.function.worker_time(),
        }
    }
}

impl From<OperationCounts> for OperationStatistics {
    fn from(counts: OperationCounts) -> Self {
        Self { operations: counts.done, bytes: counts.bytes, errors: counts.failed, latency: counts.latency }
    }
}

impl From<&NicDevice> for NicStatistics {
    fn from(nic: &NicDevice) -> Self {
        let counters = nic.net.counters();
        Self {
            received: (&counters.received).into(),
            sent: (&counters.sent).into(),
            cpu_time: nic.function.worker_time(),
        }
    }
}

impl From<&FrameCounters> for FrameStatistics {
    fn from(counters: &FrameCounters) -> Self {
        let (frames, bytes, dropped) = counters.read();
        Self { frames, bytes, dropped }
    }
}
