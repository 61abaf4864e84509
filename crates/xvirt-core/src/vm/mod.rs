//! The handle users hold: a VM from its configuration to its end.
//!
//! `state` is the table of what is legal when, `lifecycle` has the verbs that change the power state, `events` is how the
//! outside hears of what happens, `build` makes the handle of a configuration and `assemble` its machine, `supervisor` is the thread that hears
//! the guest's own requests, and `guest` does what they and crashes ask for. `attached` is what disks and network
//! interfaces there are, which `hotplug` changes at any time, `resize` the size of disks, `disks` tells of them, `limits`
//! how fast they may be, and `memory` how much memory there is. `descriptors` counts the file descriptors that all of it
//! takes. `vsock` reaches programs in the guest, `statistics` says what the VM has done, and `metrics` publishes that.

mod assemble;
mod attached;
mod build;
mod descriptors;
mod disks;
mod events;
mod guest;
#[cfg(feature = "demo")]
#[cfg(test)]
mod guest_tests;
mod handle;
mod hotplug;
mod lifecycle;
mod limits;
mod load;
mod memory;
#[cfg(feature = "metrics")]
mod metrics;
mod resize;
mod state;
mod statistics;
mod supervisor;
mod vsock;

pub use crate::latency::Latencies;
pub(crate) use assemble::{open_disk_read_only, open_disks_read_only};
pub use disks::DiskStatus;
pub use events::{CrashReason, Device, Event, EventReceiver, IoOperation};
pub use handle::{NicStatus, Vm};
pub use memory::{GuestMemory, MemoryStatistics};
#[cfg(feature = "metrics")]
pub use metrics::MetricsPublisher;
pub use state::{PowerState, Verb};
pub use statistics::{
    DeviceStatistics, DiskStatistics, ExitStatistics, FrameStatistics, NicStatistics, OperationStatistics, Statistics,
    VcpuStatistics,
};
pub use vsock::VsockListener;
