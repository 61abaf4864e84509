//! The CPUID of vCPUs: the features that KVM supports, the VM's topology, and the user's mask.
//!
//! Sources: Intel SDM volume 2A "CPUID", AMD APM volume 3 appendix E.

use kvm_bindings::{CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};

use serde::{Deserialize, Serialize};

use super::cpu_features::{self, check_fits, limit_to, output};
use crate::config::{CpuBaseline, CpuConfig};
use crate::kvm::plain;
use crate::{Error, ErrorKind, Result};

/// Hardware virtualization of Intel and AMD. It is hidden from guests, because the state of nested guests is neither
/// reset nor saved.
const VMX: u32 = 1 << 5;
const SVM: u32 = 1 << 2;
const HYPERVISOR: u32 = 1 << 31;
const TSC_DEADLINE: u32 = 1 << 24;
const HYPERTHREADING: u32 = 1 << 28;

/// What KVM supports on a host.
#[derive(Clone, Debug)]
pub(crate) struct Supported {
    /// Its CPUID, without the TSC deadline timer.
    pub(crate) cpuid: CpuId,
    /// Whether KVM has the TSC deadline timer.
    pub(crate) tsc_deadline: bool,
}

impl Supported {
    /// The features that the host has for its guests.
    pub(crate) fn baseline(&self) -> CpuBaseline {
        cpu_features::baseline(&self.all())
    }

    /// The CPUID with the TSC deadline timer.
    fn all(&self) -> CpuId {
        let mut cpuid = self.cpuid.clone();
        if self.tsc_deadline {
            cpuid.as_mut_slice().iter_mut().filter(|e| e.function == 1).for_each(|e| e.ecx |= TSC_DEADLINE);
        }
        cpuid
    }
}

/// The CPUID of a VM's vCPUs, created once and then adapted to each vCPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "SavedCpuid", into = "SavedCpuid")]
pub(crate) struct CpuidTemplate {
    base: CpuId,
    vcpus: u32,
    threads: u32,
}

impl CpuidTemplate {
    /// The CPUID of a VM on a host that supports `supported`.
    ///
    /// # Errors
    /// `HostUnsupported`: the VM's CPU baseline is of another vendor, or the host has too many leaves.
    pub(crate) fn new(supported: &Supported, cpu: &CpuConfig) -> Result<Self> {
        let threads = cpu.threads_per_core;
        let mut supported = supported.all();
        // Before the features that the VM has on any host.
        if let Some(baseline) = &cpu.baseline {
            limit_to(baseline, &mut supported)?;
        }
        let mut entries: Vec<kvm_cpuid_entry2> = supported.as_slice().to_vec();
        entries.retain(|e| !matches!(e.function, 0xB | 0x1F | 0x8000_0026));
        for leaf in topology_leaves(&supported) {
            entries.extend([topology_entry(leaf, 0), topology_entry(leaf, 1)]);
        }
        for entry in &mut entries {
            set_common(entry, cpu.count, threads);
            apply_mask(entry, cpu);
        }
        let base = CpuId::from_entries(&entries).map_err(|_| {
            Error::new(ErrorKind::HostUnsupported, "this CPU has more CPUID leaves than a KVM call can transfer")
        })?;
        Ok(Self { base, vcpus: cpu.count, threads })
    }

    /// Checks that `host`, made on this host for the same VM, has all features of this one.
    ///
    /// # Errors
    /// `HostUnsupported`, which names what is missing.
    pub(crate) fn check_fits(&self, host: &Self) -> Result<()> {
        check_fits(&self.base, &host.base)
    }

    /// The CPUID of the vCPU with APIC id `id`.
    pub(crate) fn for_vcpu(&self, id: u32) -> CpuId {
        let mut cpuid = self.base.clone();
        for entry in cpuid.as_mut_slice() {
            match entry.function {
                1 => entry.ebx = (entry.ebx & 0x00FF_FFFF) | (id << 24),
                0xB | 0x1F => self.set_topology(entry, id),
                0x8000_001E => {
                    entry.eax = id;
                    entry.ebx = (id / self.threads) | ((self.threads - 1) << 8);
                    entry.ecx = 0;
                }
                _ => {}
            }
        }
        cpuid
    }

    /// Extended topology: subleaf 0 describes the threads of a core, subleaf 1 the cores of the package.
    fn set_topology(&self, entry: &mut kvm_cpuid_entry2, id: u32) {
        let (shift, count, level) = match entry.index {
            0 => (bits_for(self.threads), self.threads, 1),
            1 => (bits_for(self.vcpus), self.vcpus, 2),
            _ => (0, 0, 0),
        };
        entry.eax = shift;
        entry.ebx = count;
        entry.ecx = entry.index | (level << 8);
        entry.edx = id;
    }
}

/// The CPUID of a VM in saved state.
#[derive(Serialize, Deserialize)]
struct SavedCpuid {
    leaves: Vec<Leaf>,
    vcpus: u32,
    threads: u32,
}

#[derive(Serialize, Deserialize)]
struct Leaf(#[serde(with = "plain")] kvm_cpuid_entry2);

impl From<CpuidTemplate> for SavedCpuid {
    fn from(CpuidTemplate { base, vcpus, threads }: CpuidTemplate) -> Self {
        Self { leaves: base.as_slice().iter().copied().map(Leaf).collect(), vcpus, threads }
    }
}

impl TryFrom<SavedCpuid> for CpuidTemplate {
    type Error = &'static str;

    fn try_from(SavedCpuid { leaves, vcpus, threads }: SavedCpuid) -> std::result::Result<Self, &'static str> {
        if vcpus == 0 || threads == 0 || !vcpus.is_multiple_of(threads) {
            return Err("the numbers of vCPUs and threads do not fit each other");
        }
        let entries: Vec<_> = leaves.into_iter().map(|Leaf(entry)| entry).collect();
        let base = CpuId::from_entries(&entries).map_err(|_| "it has more CPUID leaves than KVM can carry")?;
        Ok(Self { base, vcpus, threads })
    }
}

/// The extended topology leaves of this CPU; 0xB is always present, because x2APIC guests rely on it.
fn topology_leaves(supported: &CpuId) -> Vec<u32> {
    let has_1f = supported.as_slice().iter().any(|e| e.function == 0x1F);
    if has_1f { vec![0xB, 0x1F] } else { vec![0xB] }
}

fn topology_entry(function: u32, index: u32) -> kvm_cpuid_entry2 {
    kvm_cpuid_entry2 { function, index, flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX, ..Default::default() }
}

/// Sets the values that all vCPUs of a VM share.
fn set_common(entry: &mut kvm_cpuid_entry2, vcpus: u32, threads: u32) {
    match entry.function {
        0 => entry.eax = entry.eax.max(0xB),
        1 => {
            entry.ecx = (entry.ecx & !VMX) | HYPERVISOR;
            entry.ebx = (entry.ebx & 0xFF00_FFFF) | (vcpus.min(255) << 16);
            entry.edx = if vcpus > 1 { entry.edx | HYPERTHREADING } else { entry.edx & !HYPERTHREADING };
        }
        // Deterministic cache parameters: each core has its own levels 1 and 2; the package shares the last level.
        4 | 0x8000_001D if entry.eax & 0x1F != 0 => {
            let level = (entry.eax >> 5) & 7;
            let sharing = if level < 3 { threads } else { vcpus };
            entry.eax = (entry.eax & !(0xFFF << 14)) | ((sharing - 1) << 14);
            if entry.function == 4 {
                entry.eax = (entry.eax & 0x03FF_FFFF) | ((vcpus / threads).clamp(1, 64) - 1) << 26;
            }
        }
        // No performance counters, because they would count host events.
        0xA => (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0),
        0x8000_0001 => entry.ecx &= !SVM,
        // The SVM feature leaf.
        0x8000_000A => (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0),
        0x8000_0008 => entry.ecx = (vcpus - 1) | (bits_for(vcpus) << 12),
        _ => {}
    }
}

fn apply_mask(entry: &mut kvm_cpuid_entry2, cpu: &CpuConfig) {
    let (leaf, subleaf) = (entry.function, entry.index);
    for mask in cpu.mask.iter().filter(|m| m.leaf == leaf && m.subleaf == subleaf) {
        *output(entry, mask.register) &= !mask.clear;
    }
}

/// The number of bits to number `count` items.
fn bits_for(count: u32) -> u32 {
    count.next_power_of_two().trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CpuidMask, CpuidRegister};

    fn entry(function: u32, index: u32) -> kvm_cpuid_entry2 {
        kvm_cpuid_entry2 { function, index, ..Default::default() }
    }

    fn find(cpuid: &CpuId, function: u32, index: u32) -> kvm_cpuid_entry2 {
        *cpuid.as_slice().iter().find(|e| e.function == function && e.index == index).unwrap()
    }

    fn template(cpu: &CpuConfig) -> CpuidTemplate {
        let supported = CpuId::from_entries(&[entry(0, 0), entry(1, 0), entry(0x8000_0008, 0)]).unwrap();
        CpuidTemplate::new(&Supported { cpuid: supported, tsc_deadline: true }, cpu).unwrap()
    }

    #[test]
    fn topology_counts_threads_and_cores() {
        let cpu = CpuConfig { count: 6, threads_per_core: 2, ..CpuConfig::default() };
        let cpuid = template(&cpu).for_vcpu(5);
        let threads = find(&cpuid, 0xB, 0);
        assert_eq!((threads.eax, threads.ebx, threads.edx), (1, 2, 5));
        let package = find(&cpuid, 0xB, 1);
        assert_eq!((package.eax, package.ebx, package.ecx), (3, 6, 0x201));
        assert_eq!(find(&cpuid, 1, 0).ebx >> 24, 5);
        assert_eq!(find(&cpuid, 0x8000_0008, 0).ecx, 5 | (3 << 12));
    }

    #[test]
    fn guests_are_not_shown_hardware_virtualization() {
        let all = |function| kvm_cpuid_entry2 {
            function,
            eax: u32::MAX,
            ebx: u32::MAX,
            ecx: u32::MAX,
            edx: u32::MAX,
            ..Default::default()
        };
        let supported = CpuId::from_entries(&[0, 1, 0x8000_0001, 0x8000_000A].map(all)).unwrap();
        let supported = Supported { cpuid: supported, tsc_deadline: true };
        let cpuid = CpuidTemplate::new(&supported, &CpuConfig::default()).unwrap().for_vcpu(0);
        assert_eq!(find(&cpuid, 1, 0).ecx, !(1 << 5));
        assert_eq!(find(&cpuid, 0x8000_0001, 0).ecx, !(1 << 2));
        let features = find(&cpuid, 0x8000_000A, 0);
        assert_eq!([features.eax, features.ebx, features.ecx, features.edx], [0; 4]);
    }

    #[test]
    fn the_mask_only_clears_bits_of_its_leaf() {
        let mask = CpuidMask { leaf: 1, subleaf: 0, register: CpuidRegister::Ecx, clear: TSC_DEADLINE };
        let cpu = CpuConfig { mask: vec![mask], ..CpuConfig::default() };
        let cpuid = template(&cpu).for_vcpu(0);
        assert_eq!(find(&cpuid, 1, 0).ecx, HYPERVISOR);
    }
}
