//! The CPU features that several hosts have in common.

use serde::{Deserialize, Serialize};

use super::{CpuidRegister, invalid};
use crate::{Error, ErrorKind, Result};

/// The CPU features that one host has for its guests, or that several hosts have in common.
///
/// A VM that is to be resumed on any of several hosts must be started with their common features
/// ([`VmConfig::cpu_baseline`](super::VmConfig::cpu_baseline)): a guest uses what it finds when it boots. Each host
/// determines its own ([`Host::cpu_baseline`](crate::host::Host::cpu_baseline)) and can send them, for example as JSON;
/// [`of`](Self::of) computes what they have in common.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use xvirt_core::config::{CpuBaseline, VmConfig};
/// use xvirt_core::host::Host;
///
/// # let other_host = String::new();
/// let hosts = [Host::probe()?.cpu_baseline()?, serde_json::from_str(&other_host)?];
/// let config = VmConfig::new("web-1").cpu_baseline(CpuBaseline::of(&hosts)?);
/// # let _ = config;
/// # Ok(())
/// # }
/// ```
///
/// This covers the feature bits of CPUID (Intel SDM volume 2A; AMD APM volume 3, appendix E). It does not cover these:
///
/// - The frequency of the time stamp counter. A host whose counter has another frequency (by more than 250 millionths)
///   can resume a guest only if its CPU can scale the counter; otherwise the resume fails and says so.
/// - What model-specific registers say, such as the mitigations in `IA32_ARCH_CAPABILITIES` that a CPU does not need. A
///   guest keeps the answers of the host on which it booted, so boot it on the host with the oldest CPU.
/// - The width of physical addresses, which the guest also keeps. It matters to guests with more memory than the
///   smallest host can address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuBaseline {
    vendor: String,
    features: Vec<CpuidFeatures>,
}

/// The features in one CPUID register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CpuidFeatures {
    pub(crate) leaf: u32,
    pub(crate) subleaf: u32,
    pub(crate) register: CpuidRegister,
    /// One bit for each feature.
    pub(crate) bits: u32,
}

impl CpuBaseline {
    /// The features of one host.
    pub(crate) fn new(vendor: String, features: Vec<CpuidFeatures>) -> Self {
        Self { vendor, features }
    }

    /// The features that all `hosts` have. It is itself a baseline that can be combined with others.
    ///
    /// # Errors
    /// [`HostUnsupported`](ErrorKind::HostUnsupported) if their CPUs are of different vendors: no guest can move
    /// between them. [`InvalidConfig`](ErrorKind::InvalidConfig) if there are no hosts.
    pub fn of(hosts: &[Self]) -> Result<Self> {
        let Some((first, others)) = hosts.split_first() else {
            return Err(invalid("no hosts have no CPU features in common", "give at least one host's features"));
        };
        let mut common = first.clone();
        for other in others {
            if other.vendor != first.vendor {
                let what = format!(
                    "the hosts have CPUs of different vendors, {} and {}, between which no guest can move",
                    first.vendor, other.vendor
                );
                return Err(Error::new(ErrorKind::HostUnsupported, what)
                    .with_remedy("group the hosts by vendor, and compute a baseline for each group"));
            }
            for features in &mut common.features {
                features.bits &= other.bits(features.leaf, features.subleaf, features.register);
            }
        }
        Ok(common)
    }

    /// The vendor of the CPUs according to CPUID, such as `GenuineIntel` or `AuthenticAMD`.
    pub fn vendor(&self) -> &str {
        &self.vendor
    }

    /// The features in a register of CPUID. A register that is not listed has none.
    pub(crate) fn bits(&self, leaf: u32, subleaf: u32, register: CpuidRegister) -> u32 {
        let mut features = self.features.iter();
        let wanted = (leaf, subleaf, register);
        features.find(|f| (f.leaf, f.subleaf, f.register) == wanted).map_or(0, |features| features.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(vendor: &str, registers: &[(u32, CpuidRegister, u32)]) -> CpuBaseline {
        let features =
            registers.iter().map(|&(leaf, register, bits)| CpuidFeatures { leaf, subleaf: 0, register, bits });
        CpuBaseline::new(vendor.to_owned(), features.collect())
    }

    use CpuidRegister::{Ebx, Ecx};

    #[test]
    fn features_that_all_hosts_have_are_common() {
        let one = host("GenuineIntel", &[(1, Ecx, 0b0111), (7, Ebx, 0b11), (7, Ecx, 1)]);
        let other = host("GenuineIntel", &[(7, Ebx, 0b10), (1, Ecx, 0b1110)]);
        let third = host("GenuineIntel", &[(1, Ecx, 0b0101), (7, Ebx, 0b11)]);
        let common = CpuBaseline::of(&[one.clone(), other.clone(), third.clone()]).unwrap();
        assert_eq!(common, host("GenuineIntel", &[(1, Ecx, 0b0100), (7, Ebx, 0b10), (7, Ecx, 0)]));
        let pair = CpuBaseline::of(&[one, other]).unwrap();
        assert_eq!(CpuBaseline::of(&[pair, third]).unwrap(), common, "combined in two steps");
    }

    #[test]
    fn hosts_of_different_vendors_and_no_hosts_have_nothing_in_common() {
        let error = CpuBaseline::of(&[host("GenuineIntel", &[]), host("AuthenticAMD", &[])]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HostUnsupported);
        assert!(error.message().contains("GenuineIntel and AuthenticAMD"), "{error}");
        assert_eq!(CpuBaseline::of(&[]).unwrap_err().kind(), ErrorKind::InvalidConfig);
    }

    #[test]
    fn a_host_sends_its_features_as_json() {
        let host = host("GenuineIntel", &[(7, Ebx, 0x20)]);
        let text = serde_json::to_string(&host).unwrap();
        let expected = r#"{"vendor":"GenuineIntel","features":[{"leaf":7,"subleaf":0,"register":"ebx","bits":32}]}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<CpuBaseline>(&text).unwrap(), host);
    }
}
