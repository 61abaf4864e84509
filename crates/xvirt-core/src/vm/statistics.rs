//! What a running VM has done so far.

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

/// What a VM has done since it was started.
///
/// All counters begin at zero with the VM's start, go on through reboots and pauses, and are gone when it halts. Those of
/// a device begin when it is plugged in. They are read one after the other while the guest runs, so two of them may be
/// apart by what happened in between. Sizes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Statistics {
    /// How long ago it was started; zero while it is halted.
    pub uptime: Duration,
    /// Its processors, in order.
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

/// One processor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VcpuStatistics {
    /// How much of the host's processors it has taken, in the guest and for it.
    pub cpu_time: Duration,
    /// How often it left the guest for something that KVM does not do by itself, by reasons.
    pub exits: ExitStatistics,
}

/// How often a processor left the guest, by reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExitStatistics {
    /// It read an I/O port.
    pub port_reads: u64,
    /// It wrote an I/O port.
    pub port_writes: u64,
    /// It read the memory of a device.
    pub memory_reads: u64,
    /// It wrote the memory of a device.
    pub memory_writes: u64,
    /// It had nothing to do. KVM waits by itself as a rule, so this stays 0.
    pub halts: u64,
    /// It was called back, for a pause or another verb.
    pub interrupted: u64,
    /// Anything else.
    pub others: u64,
}

/// One disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DiskStatistics {
    /// What was read.
    pub reads: OperationStatistics,
    /// What was written.
    pub writes: OperationStatistics,
    /// Requests to make what was written durable.
    pub flushes: OperationStatistics,
    /// What was given back.
    pub discards: OperationStatistics,
    /// What was filled with zeroes.
    pub zeroes: OperationStatistics,
    /// How much of the host's processors its thread has taken.
    pub cpu_time: Duration,
}

/// One kind of request to a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OperationStatistics {
    /// How many were done.
    pub operations: u64,
    /// How many bytes they were about.
    pub bytes: u64,
    /// How many failed, for want of the host or because the guest asked for what is not there.
    pub errors: u64,
    /// How long they took from the guest's queue to the answer, those that failed too.
    pub latency: Latencies,
}

/// One network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NicStatistics {
    /// What the guest received.
    pub received: FrameStatistics,
    /// What the guest sent.
    pub sent: FrameStatistics,
    /// How much of the host's processors its thread has taken.
    pub cpu_time: Duration,
}

/// One direction of a network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FrameStatistics {
    /// How many Ethernet frames passed.
    pub frames: u64,
    /// How many bytes they had.
    pub bytes: u64,
    /// How many were lost: the link was down, the guest's buffers were too small, or the host did not take them.
    pub dropped: u64,
}

/// Any other device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeviceStatistics {
    /// What it is, as in `virtio-console`.
    pub name: String,
    /// How much of the host's processors its thread has taken.
    pub cpu_time: Duration,
}

impl Vm {
    /// What it has done since it was started; all is empty while it is halted.
    ///
    /// Meant to be asked for every second: it takes some microseconds, one system call for each of the VM's threads, and
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
