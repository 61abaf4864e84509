//! Virtual CPUs: number, topology, and hidden features.

use serde::{Deserialize, Serialize};

use super::{CpuBaseline, CpuLimit, invalid};
use crate::Result;

/// The most vCPUs of a VM: APIC ids have 8 bits, and the last one means "all".
pub const MAX_VCPUS: u32 = 254;

/// The vCPUs of a VM.
///
/// They have the features that KVM supports for guests on this host, except hardware virtualization (VMX, SVM): nested
/// VMs are not possible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CpuConfig {
    /// The number of vCPUs, 1 to [`MAX_VCPUS`]; 1 by default.
    pub count: u32,
    /// The number of vCPUs per core, as the guest sees it: a power of two that divides `count`, by default 1. A guest
    /// derives the core from the upper bits of the APIC id, so other numbers are not possible (Intel SDM volume 3, "Hierarchical
    /// Mapping of Shared Resources").
    pub threads_per_core: u32,
    /// The CPU features that the VM has at most, so that it can be resumed on several hosts.
    pub baseline: Option<CpuBaseline>,
    /// CPUID bits to hide from the guest.
    pub mask: Vec<CpuidMask>,
    /// The limit on host CPU time.
    pub limit: CpuLimit,
}

impl Default for CpuConfig {
    fn default() -> Self {
        Self { count: 1, threads_per_core: 1, baseline: None, mask: Vec::new(), limit: CpuLimit::none() }
    }
}

/// Bits of one CPUID register that the guest sees as zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuidMask {
    /// The leaf: the input EAX.
    pub leaf: u32,
    /// The subleaf: the input ECX; 0 if the leaf has none.
    #[serde(default)]
    pub subleaf: u32,
    /// The output register.
    pub register: CpuidRegister,
    /// The bits to clear.
    pub clear: u32,
}

/// An output register of CPUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum CpuidRegister {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

impl CpuConfig {
    pub(super) fn check(&self) -> Result<()> {
        if self.count == 0 || self.count > MAX_VCPUS {
            return Err(invalid(format!("a VM cannot have {} vCPUs", self.count), &format!("use 1 to {MAX_VCPUS}")));
        }
        if !self.threads_per_core.is_power_of_two() || !self.count.is_multiple_of(self.threads_per_core) {
            return Err(invalid(
                format!("{} vCPUs cannot be divided into cores of {}", self.count, self.threads_per_core),
                "choose a power of two for threads_per_core that divides the number of vCPUs",
            ));
        }
        self.limit.check()
    }
}
