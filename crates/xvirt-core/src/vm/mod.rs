//! The handle users hold: a VM from its configuration to its end.
//!
//! A verb changes the VM while it holds the operation lock; `operation` lists the verbs in progress. What the VM is and has
//! at this moment is in `live`, which is locked only for a moment, so that questions never wait for a verb. `devices` are
//! its disks and network interfaces in it.
//!
//! `state` is the table of what is legal when, `lifecycle` has the verbs that change the power state, `events` tells the
//! outside what happens and `halt` what ended it last, `build` makes the handle from a configuration, `assemble` its
//! machine, `consoles` has its consoles and the port of its guest agent, `supervisor` is the thread that hears the
//! guest's own requests, and `guest` does what they and crashes ask for. `hotplug` plugs and unplugs devices, `resize`
//! grows disks, `disks` and `nics` list what there is, `limits` sets how fast devices and vCPUs may be, and `memory` how
//! much memory the guest has. `descriptors` counts the file descriptors that all of it takes. `vsock` reaches programs
//! in the guest, `statistics` says what the VM has done, and `metrics` publishes that.

mod agent;
mod assemble;
mod build;
mod consoles;
mod descriptors;
mod devices;
mod disks;
mod events;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod guest;
mod halt;
mod handle;
mod hotplug;
mod lifecycle;
mod limits;
mod live;
mod memory;
#[cfg(feature = "metrics")]
mod metrics;
mod nics;
mod operation;
mod resize;
mod saved;
mod saved_devices;
mod state;
mod statistics;
mod supervisor;
mod suspend;
mod vsock;

pub use crate::latency::Latencies;
pub use crate::machine::ElapsedTime;
pub use disks::DiskStatus;
pub use events::{CrashReason, Device, Event, EventReceiver, EventRecord, IoOperation};
pub use halt::{Crash, HaltCause, Halted};
pub use handle::Vm;
pub use memory::{GuestMemory, MemoryStatistics};
#[cfg(feature = "metrics")]
pub use metrics::MetricsPublisher;
pub use nics::NicStatus;
pub use operation::Operation;
pub use saved::SuspendedVm;
pub use state::{PowerState, Verb};
pub use statistics::{
    DeviceStatistics, DiskStatistics, ExitStatistics, FrameStatistics, NicStatistics, OperationStatistics, Statistics,
    VcpuStatistics,
};
pub use vsock::VsockListener;
