//! What a user writes: serde types that describe a VM, checked before anything is built.
//!
//! A configuration is consumed by the build and never consulted afterwards.

mod balloon;
mod boot;
mod cpu;
mod cpu_limit;
mod crash;
mod disk;
mod io_engine;
mod limit;
mod machine;
mod nic;
mod size;
mod vsock;

pub use balloon::Balloon;
pub(crate) use balloon::check_memory_target;
pub use boot::{Boot, EntryProtocol, KernelImage};
pub use cpu::{CpuConfig, CpuidMask, CpuidRegister, MAX_VCPUS};
pub use cpu_limit::CpuLimit;
pub use crash::CrashAction;
pub use disk::{Disk, DiskSource};
pub use io_engine::IoEngine;
pub use limit::{NicLimit, RateLimit};
pub(crate) use machine::{MAX_DEVICES, MIN_MEMORY, PAGE};
pub use machine::{MemoryBacking, VmConfig};
pub use nic::{Nic, NicBackendConfig};
pub use size::ByteSize;
pub use uuid::Uuid;
pub use vsock::Vsock;

use crate::{Error, ErrorKind};

/// A mistake in a configuration: `what` names the field and the value.
fn invalid(what: impl Into<String>, remedy: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, what).remedy(remedy)
}
