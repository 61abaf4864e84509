//! Virtual CPUs: how many, how they are arranged, and which features they hide.

use serde::{Deserialize, Serialize};

use super::{CpuLimit, invalid};
use crate::Result;

/// The most vCPUs a VM can have: APIC ids of 8 bits, of which the last means "all".
pub const MAX_VCPUS: u32 = 254;

/// The processors of a VM.
///
/// They have the features that KVM can give a guest on this host, but for hardware virtualization (VMX, SVM): guests
/// cannot run VMs of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CpuConfig {
    /// How many vCPUs there are, 1 to [`MAX_VCPUS`].
    pub count: u32,
    /// How many vCPUs share a core, as the guest sees it: a power of two, and `count` is a multiple of it. A guest finds
    /// the core in the upper bits of the APIC id, which leaves no room for other numbers (Intel SDM volume 3,
    /// "Hierarchical Mapping of Shared Resources").
    pub threads_per_core: u32,
    /// Feature bits to hide from the guest, for instance to make different hosts look alike.
    pub mask: Vec<CpuidMask>,
    /// What they may take of the host's processors.
    pub limit: CpuLimit,
}

impl Default for CpuConfig {
    fn default() -> Self {
        Self { count: 1, threads_per_core: 1, mask: Vec::new(), limit: CpuLimit::none() }
    }
}

/// Bits of one CPUID register that the guest sees as zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuidMask {
    /// The leaf: EAX before the instruction.
    pub leaf: u32,
    /// The subleaf: ECX before the instruction; 0 where the leaf has none.
    #[serde(default)]
    pub subleaf: u32,
    /// The register of the answer.
    pub register: CpuidRegister,
    /// The bits to clear.
    pub clear: u32,
}

/// A register of CPUID's answer.
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
            return Err(invalid(
                format!("a VM cannot have {} vCPUs", self.count),
                &format!("give it between 1 and {MAX_VCPUS}"),
            ));
        }
        if !self.threads_per_core.is_power_of_two() || !self.count.is_multiple_of(self.threads_per_core) {
            return Err(invalid(
                format!("{} vCPUs cannot be arranged {} to a core", self.count, self.threads_per_core),
                "choose a power of two for threads_per_core that divides the number of vCPUs",
            ));
        }
        self.limit.check()
    }
}
