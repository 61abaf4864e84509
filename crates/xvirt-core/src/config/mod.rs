//! The types that describe a VM. All are serde types, and are checked before a VM is built.
//!
//! [`VmConfig::build`] consumes a configuration; nothing reads it afterwards. This module neither opens files nor
//! inspects the host: [`vm`](crate::vm) does that.

mod balloon;
mod boot;
mod cpu;
mod cpu_baseline;
mod cpu_limit;
mod crash;
mod disk;
mod json;
mod label;
mod limit;
mod machine;
mod nic;
mod paths;
mod user_network;
mod vsock;

pub use balloon::Balloon;
pub(crate) use balloon::check_memory_target;
pub use boot::{Boot, BootFile, EntryProtocol};
pub use cpu::{CpuConfig, CpuidMask, CpuidRegister, MAX_VCPUS};
pub use cpu_baseline::CpuBaseline;
pub(crate) use cpu_baseline::CpuidFeatures;
pub use cpu_limit::CpuLimit;
pub use crash::CrashAction;
pub use disk::{Disk, DiskSource};
pub(crate) use label::check_labels;
pub use limit::{NicLimit, RateLimit};
pub use machine::VmConfig;
pub(crate) use machine::{MAX_DEVICES, MIN_MEMORY, PAGE};
pub use nic::{Nic, NicBackendConfig};
pub use user_network::{PortForward, TransportProtocol, UserNetwork};
pub use uuid::Uuid;
pub use vsock::Vsock;

pub use crate::descriptor::Descriptor;
pub use crate::disk::IoEngine;
pub use crate::memory::MemoryBacking;
pub use crate::size::ByteSize;
use crate::{Error, ErrorKind};

/// An error in a configuration; `what` names the field and the value.
fn invalid(what: impl Into<String>, remedy: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, what).with_remedy(remedy)
}
