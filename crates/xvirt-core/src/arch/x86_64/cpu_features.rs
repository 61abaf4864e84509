//! CPU features: whether a host has all that a guest was told of, and what hosts have in common.
//!
//! Sources: Intel SDM volume 2A "CPUID", AMD APM volume 3 appendix E, Linux `Documentation/virt/kvm/x86/cpuid.rst`.

use std::fmt;

use kvm_bindings::{CpuId, kvm_cpuid_entry2};

use crate::config::CpuidRegister::{self, Eax, Ebx, Ecx, Edx};
use crate::config::{CpuBaseline, CpuidFeatures};
use crate::{Error, ErrorKind, Result};

/// A register of a CPUID leaf.
#[derive(Clone, Copy, Debug)]
struct Register {
    leaf: u32,
    subleaf: u32,
    output: CpuidRegister,
    /// Bits that depend on what the guest has set, and are no features.
    ignored: u32,
}

const fn register(leaf: u32, subleaf: u32, output: CpuidRegister) -> Register {
    Register { leaf, subleaf, output, ignored: 0 }
}

/// The registers that are sets of features, a bit for each.
const FEATURES: [Register; 18] = [
    // OSXSAVE says whether the guest has switched XSAVE on.
    Register { ignored: 1 << 27, ..register(1, 0, Ecx) },
    register(1, 0, Edx),
    register(7, 0, Ebx),
    register(7, 0, Ecx),
    register(7, 0, Edx),
    register(7, 1, Eax),
    register(7, 1, Edx),
    register(7, 2, Edx),
    register(0xD, 0, Eax),
    register(0xD, 0, Edx),
    register(0xD, 1, Eax),
    register(0xD, 1, Ecx),
    register(0x4000_0001, 0, Eax),
    register(0x8000_0001, 0, Ecx),
    register(0x8000_0001, 0, Edx),
    register(0x8000_0007, 0, Edx),
    register(0x8000_0008, 0, Ebx),
    register(0x8000_0021, 0, Eax),
];

/// Names of features that differ between processors in use.
const NAMES: [(u32, u32, &str, u32, &str); 34] = [
    (1, 0, "ecx", 0, "SSE3"),
    (1, 0, "ecx", 1, "PCLMULQDQ"),
    (1, 0, "ecx", 9, "SSSE3"),
    (1, 0, "ecx", 12, "FMA"),
    (1, 0, "ecx", 17, "PCID"),
    (1, 0, "ecx", 19, "SSE4.1"),
    (1, 0, "ecx", 20, "SSE4.2"),
    (1, 0, "ecx", 21, "x2APIC"),
    (1, 0, "ecx", 22, "MOVBE"),
    (1, 0, "ecx", 23, "POPCNT"),
    (1, 0, "ecx", 24, "TSC deadline timer"),
    (1, 0, "ecx", 25, "AES"),
    (1, 0, "ecx", 26, "XSAVE"),
    (1, 0, "ecx", 28, "AVX"),
    (1, 0, "ecx", 30, "RDRAND"),
    (7, 0, "ebx", 0, "FSGSBASE"),
    (7, 0, "ebx", 3, "BMI1"),
    (7, 0, "ebx", 5, "AVX2"),
    (7, 0, "ebx", 7, "SMEP"),
    (7, 0, "ebx", 8, "BMI2"),
    (7, 0, "ebx", 10, "INVPCID"),
    (7, 0, "ebx", 16, "AVX-512F"),
    (7, 0, "ebx", 18, "RDSEED"),
    (7, 0, "ebx", 19, "ADX"),
    (7, 0, "ebx", 20, "SMAP"),
    (7, 0, "ebx", 29, "SHA"),
    (7, 0, "ecx", 2, "UMIP"),
    (7, 0, "ecx", 3, "PKU"),
    (7, 0, "ecx", 16, "5-level paging"),
    (7, 0, "edx", 24, "AMX-TILE"),
    (7, 0, "edx", 31, "SSBD"),
    (0x8000_0001, 0, "ecx", 5, "ABM"),
    (0x8000_0001, 0, "edx", 26, "1 GiB pages"),
    (0x8000_0001, 0, "edx", 27, "RDTSCP"),
];

/// One bit of a register.
struct Feature(Register, u32);

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Register { leaf, subleaf, output, .. }, bit) = self;
        let name = &match output {
            Eax => "eax",
            Ebx => "ebx",
            Ecx => "ecx",
            Edx => "edx",
        };
        let known = NAMES.iter().find(|(l, s, n, b, _)| (l, s, n, b) == (leaf, subleaf, name, bit));
        match known {
            Some((.., feature)) => f.write_str(feature),
            None => write!(f, "CPUID {leaf:#x}.{subleaf}.{name} bit {bit}"),
        }
    }
}

/// Checks that `host` has what a guest was told of in `guest`.
///
/// # Errors
/// `HostUnsupported`, which names all features that are missing, or the two vendors.
pub(super) fn check_fits(guest: &CpuId, host: &CpuId) -> Result<()> {
    let remedy =
        "use a host whose CPU has them, or start the VM with the CPU baseline of all its hosts (CpuBaseline::of)";
    let vendors = [guest, host].map(vendor);
    if vendors[0] != vendors[1] {
        let [guest, host] = vendors;
        let what = format!("the guest was started on a CPU of vendor {guest}, and this host's is {host}");
        return Err(Error::new(ErrorKind::HostUnsupported, what).with_remedy("use a host with a CPU of that vendor"));
    }
    let missing: Vec<_> = FEATURES.iter().flat_map(|register| missing(*register, guest, host)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(Feature::to_string).collect();
    let what = format!("this host's CPU lacks features that the guest uses: {}", names.join(", "));
    Err(Error::new(ErrorKind::HostUnsupported, what).with_remedy(remedy))
}

fn missing(register: Register, guest: &CpuId, host: &CpuId) -> impl Iterator<Item = Feature> {
    let missing = register.bits(guest) & !register.bits(host);
    (0..32).filter(move |bit| missing >> bit & 1 == 1).map(move |bit| Feature(register, bit))
}

impl Register {
    /// The features in this register.
    fn bits(&self, cpuid: &CpuId) -> u32 {
        let mut entries = cpuid.as_slice().iter();
        let entry = entries.find(|e| e.function == self.leaf && e.index == self.subleaf);
        entry.map_or(0, |entry| *output(&mut { *entry }, self.output) & !self.ignored)
    }
}

/// An output register of a leaf.
pub(super) fn output(entry: &mut kvm_cpuid_entry2, register: CpuidRegister) -> &mut u32 {
    match register {
        Eax => &mut entry.eax,
        Ebx => &mut entry.ebx,
        Ecx => &mut entry.ecx,
        Edx => &mut entry.edx,
    }
}

/// The features of a host with this CPUID.
pub(super) fn baseline(cpuid: &CpuId) -> CpuBaseline {
    let features = FEATURES.iter().map(|register| {
        let Register { leaf, subleaf, output, .. } = *register;
        CpuidFeatures { leaf, subleaf, register: output, bits: register.bits(cpuid) }
    });
    CpuBaseline::new(vendor(cpuid), features.collect())
}

/// Removes all features from the CPUID of a host that are not in `baseline`.
///
/// # Errors
/// `HostUnsupported`: the baseline is of another vendor's CPUs.
pub(super) fn limit_to(baseline: &CpuBaseline, cpuid: &mut CpuId) -> Result<()> {
    let vendor = vendor(cpuid);
    if vendor != baseline.vendor() {
        let what =
            format!("the CPU baseline of the VM is of vendor {}, and this host's CPU is {vendor}", baseline.vendor());
        return Err(Error::new(ErrorKind::HostUnsupported, what).with_remedy("use a host with a CPU of that vendor"));
    }
    for Register { leaf, subleaf, output: register, .. } in FEATURES {
        let entries = cpuid.as_mut_slice().iter_mut().filter(|e| e.function == leaf && e.index == subleaf);
        entries.for_each(|entry| *output(entry, register) &= baseline.bits(leaf, subleaf, register));
    }
    Ok(())
}

/// The vendor, as leaf 0 spells it.
fn vendor(cpuid: &CpuId) -> String {
    let leaf = cpuid.as_slice().iter().find(|entry| entry.function == 0);
    let bytes = leaf.map(|leaf| [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes).concat()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::x86_64::cpuid::{CpuidTemplate, Supported};
    use crate::config::CpuConfig;

    fn cpuid(vendor: &[u8; 12], features: u32, extended: u32) -> CpuId {
        let word = |at: usize| u32::from_le_bytes([vendor[at], vendor[at + 1], vendor[at + 2], vendor[at + 3]]);
        let leaf = |function| kvm_cpuid_entry2 { function, ..Default::default() };
        let vendor = kvm_cpuid_entry2 { ebx: word(0), edx: word(4), ecx: word(8), ..leaf(0) };
        let first = kvm_cpuid_entry2 { ecx: features, ..leaf(1) };
        CpuId::from_entries(&[vendor, first, kvm_cpuid_entry2 { ebx: extended, ..leaf(7) }]).unwrap()
    }

    #[test]
    fn more_features_fit_and_fewer_are_named() {
        let few = cpuid(b"GenuineIntel", 1 << 25, 1 << 5);
        let many = cpuid(b"GenuineIntel", 1 << 25 | 1 << 30 | 1 << 27, 1 << 5 | 1 << 16 | 1 << 27);
        assert!(check_fits(&few, &many).is_ok());
        let error = check_fits(&many, &few).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HostUnsupported);
        let expected = "this host's CPU lacks features that the guest uses: RDRAND, AVX-512F, CPUID 0x7.0.ebx bit 27";
        assert_eq!(error.message(), expected);
    }

    #[test]
    fn another_vendor_is_named() {
        let error = check_fits(&cpuid(b"GenuineIntel", 0, 0), &cpuid(b"AuthenticAMD", 0, 0)).unwrap_err();
        let expected = "the guest was started on a CPU of vendor GenuineIntel, and this host's is AuthenticAMD";
        assert_eq!(error.message(), expected);
    }

    /// The CPUID of a VM that is started on, or resumed on, a host.
    fn vm(host: &CpuId, baseline: Option<&CpuBaseline>) -> Result<CpuidTemplate> {
        let cpu = CpuConfig { count: 2, baseline: baseline.cloned(), ..CpuConfig::default() };
        CpuidTemplate::new(&Supported { cpuid: host.clone(), tsc_deadline: true }, &cpu)
    }

    #[test]
    fn a_guest_with_the_baseline_of_several_hosts_can_be_resumed_on_each() {
        let hosts = [(1 << 25, 1 << 5 | 1 << 16), (1 << 25 | 1 << 30, 1 << 5), (1 << 25 | 1 << 12, 1 << 5 | 1 << 27)];
        let hosts = hosts.map(|(first, extended)| cpuid(b"GenuineIntel", first, extended));
        let own = hosts.clone().map(|cpuid| Supported { cpuid, tsc_deadline: true }.baseline());
        let baseline = CpuBaseline::of(&own).unwrap();
        assert_eq!((baseline.bits(1, 0, Ecx), baseline.bits(7, 0, Ebx)), (1 << 24 | 1 << 25, 1 << 5));
        for (at, started) in hosts.iter().enumerate() {
            let alone = vm(started, None).unwrap();
            let guest = vm(started, Some(&baseline)).unwrap();
            for (other, resumed) in hosts.iter().enumerate() {
                guest.check_fits(&vm(resumed, Some(&baseline)).unwrap()).unwrap();
                guest.check_fits(&vm(resumed, None).unwrap()).unwrap();
                assert_eq!(alone.check_fits(&vm(resumed, None).unwrap()).is_ok(), at == other, "{at} {other}");
            }
        }
        let fourth = cpuid(b"GenuineIntel", 1 << 25, 0);
        let guest = vm(&hosts[0], Some(&baseline)).unwrap();
        let error = guest.check_fits(&vm(&fourth, Some(&baseline)).unwrap()).unwrap_err();
        assert_eq!(error.message(), "this host's CPU lacks features that the guest uses: AVX2");
    }

    #[test]
    fn a_baseline_leaves_what_the_vm_decides() {
        let host = cpuid(b"GenuineIntel", 0, 0);
        let guest = vm(&host, Some(&Supported { cpuid: host.clone(), tsc_deadline: false }.baseline())).unwrap();
        let first = guest.for_vcpu(1);
        let first = first.as_slice().iter().find(|entry| entry.function == 1).unwrap();
        assert_eq!(first.edx, 1 << 28, "it has several vCPUs");
        assert_eq!(first.ecx, 1 << 31, "it has a hypervisor, and no TSC deadline timer");
    }

    #[test]
    fn a_baseline_of_another_vendor_is_refused() {
        let baseline = baseline(&cpuid(b"AuthenticAMD", 0, 0));
        let error = vm(&cpuid(b"GenuineIntel", 0, 0), Some(&baseline)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HostUnsupported);
        let expected = "the CPU baseline of the VM is of vendor AuthenticAMD, and this host's CPU is GenuineIntel";
        assert_eq!(error.message(), expected);
    }
}
