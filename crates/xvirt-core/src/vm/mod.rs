//! The VM handle: a VM from its configuration to its end.
//!
//! A verb holds the operation lock while it changes the VM; `operation` lists the verbs in progress. `live` has the
//! current state, including the disks and network interfaces (`devices`). It is locked only briefly, so queries never
//! wait for a verb.
//!
//! - `state`: the table of power states in which each verb is legal.
//! - `build`: makes the handle from a configuration; `assemble` makes its machine.
//! - `lifecycle`: the verbs that change the power state.
//! - `suspend`: suspends a VM to a file; `resume` resumes it; `saved` reads such a file, `saved_devices` its device states,
//!   `saved_descriptor` is one without a path, and `draft` is a file until it is complete.
//! - `stopped`: holds a VM stopped while it is saved; `image_change` gives its disks other images meanwhile.
//! - `outgoing` and `incoming`: a VM at the source and at the target of a migration.
//! - `events`: what happens to the VM; `halt`: why it is halted, and its last crash.
//! - `supervisor`: the thread that handles the guest's own requests; `guest`: what those requests and crashes do.
//! - `consoles`: the consoles and the guest agent's port; `agent`: the guest agent; `vsock`: connections to and from
//!   the guest.
//! - `hotplug`: plugs and unplugs devices; `disks` and `nics` list them; `resize` grows disks.
//! - `limits`: limits of devices and vCPUs; `memory`: the memory target and the guest's memory statistics.
//! - `descriptors`: how many file descriptors a VM needs.
//! - `statistics`: counters of a running VM; `metrics` publishes them.

mod agent;
mod arrival;
mod assemble;
mod build;
mod checkpoint;
mod clock;
mod consoles;
mod descriptors;
mod devices;
mod disks;
mod draft;
mod events;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod guest;
mod halt;
mod handle;
mod hotplug;
mod image_change;
mod incoming;
mod lifecycle;
mod limits;
mod live;
mod memory;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(test)]
#[cfg(feature = "demo")]
mod migration_tests;
mod nics;
mod operation;
mod outgoing;
mod resize;
mod resume;
mod saved;
mod saved_descriptor;
mod saved_devices;
mod state;
mod statistics;
mod stopped;
mod supervisor;
mod suspend;
mod tracking;
mod vsock;

pub use crate::latency::Latencies;
pub use crate::machine::ElapsedTime;
pub(crate) use checkpoint::Extent;
pub use checkpoint::{CheckpointMethod, CheckpointReport};
pub use disks::DiskStatus;
pub use events::{CrashReason, Device, Event, EventReceiver, EventRecord, IoOperation};
pub use halt::{Crash, HaltCause, Halted};
pub use handle::Vm;
pub(crate) use image_change::NewImage;
pub use incoming::ArrivingVm;
pub(crate) use incoming::Incoming;
pub use memory::{GuestMemory, MemoryStatistics};
#[cfg(feature = "metrics")]
pub use metrics::MetricsPublisher;
pub use nics::NicStatus;
pub use operation::Operation;
pub(crate) use outgoing::Outgoing;
pub use resume::{MemoryLoaded, MemoryLoading, Resume, ResumeReport, ResumeTimes};
pub use saved::SuspendedVm;
pub(crate) use saved::{
    SavedImage, SavedState, has_base as saved_state_has_base, open as open_saved_state, require_unchanged,
    verify_memory as verify_saved_memory,
};
pub use state::{PowerState, Verb};
pub use statistics::{
    DeviceStatistics, DiskStatistics, ExitStatistics, FrameStatistics, NicStatistics, OperationStatistics, Statistics,
    VcpuStatistics,
};
pub(crate) use stopped::Stopped;
pub use suspend::SuspendReport;
pub(crate) use tracking::Base as CheckpointBase;
pub use vsock::VsockListener;
