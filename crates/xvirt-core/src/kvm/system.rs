//! `/dev/kvm`: its checks and system-wide capabilities.

use std::io;

use kvm_bindings::{CpuId, KVM_API_VERSION, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::{Cap, Kvm, VmFd};

use super::{Vm, kvm_error};
use crate::descriptor::Descriptor;
use crate::host::open_kvm;
use crate::memory::GuestRam;
use crate::{Error, ErrorKind, Result};

/// The capabilities that every VM needs.
const REQUIRED: [(Cap, &str); 7] = [
    (Cap::Irqchip, "in-kernel interrupt controller"),
    (Cap::SignalMsi, "message-signalled interrupts"),
    (Cap::Ioeventfd, "ioeventfd"),
    (Cap::UserMemory, "user memory regions"),
    (Cap::ImmediateExit, "immediate exit"),
    (Cap::ExtCpuid, "CPUID control"),
    (Cap::MpState, "multiprocessor state"),
];

/// An open `/dev/kvm` with everything a VM needs.
#[derive(Debug)]
pub(crate) struct System {
    kvm: Kvm,
}

impl System {
    /// Opens `/dev/kvm`, or uses this descriptor of it, and checks its API version and capabilities.
    pub(crate) fn open(device: Option<&Descriptor>) -> Result<Self> {
        let kvm = match device {
            Some(device) => open_kvm(device)?,
            None => Kvm::new().map_err(|e| open_error(io::Error::from_raw_os_error(e.errno())))?,
        };
        let version = kvm.get_api_version();
        if version != KVM_API_VERSION as i32 {
            return Err(Error::new(
                ErrorKind::HostUnsupported,
                format!("/dev/kvm has API version {version}, not {KVM_API_VERSION}"),
            )
            .with_remedy("run a Linux kernel of version 5.10 or later"));
        }
        let missing: Vec<_> = REQUIRED.iter().filter(|(cap, _)| !kvm.check_extension(*cap)).map(|(_, n)| *n).collect();
        if !missing.is_empty() {
            return Err(Error::new(ErrorKind::HostUnsupported, format!("/dev/kvm lacks {}", missing.join(", ")))
                .with_remedy("run a Linux kernel of version 5.10 or later with KVM for x86-64"));
        }
        Ok(Self { kvm })
    }

    /// The most vCPUs of a VM.
    pub(crate) fn max_vcpus(&self) -> usize {
        self.kvm.get_max_vcpus()
    }

    /// The model-specific registers that are part of a vCPU's state.
    pub(crate) fn msr_indices(&self) -> Result<Vec<u32>> {
        let list = self.kvm.get_msr_index_list();
        let list = list.map_err(|e| kvm_error("cannot query the model-specific registers that KVM supports", e))?;
        Ok(list.as_slice().to_vec())
    }

    /// Whether the in-kernel local APIC supports the TSC deadline timer, which KVM does not report in CPUID.
    pub(crate) fn has_tsc_deadline(&self) -> bool {
        self.kvm.check_extension(Cap::TscDeadlineTimer)
    }

    /// The frequency at which the time stamp counters of its VMs count, in kHz.
    pub(crate) fn tsc_khz(&self) -> Result<u32> {
        let cannot = |e| kvm_error("cannot read the frequency of the time stamp counter", e);
        self.make_vm()?.create_vcpu(0).and_then(|vcpu| vcpu.get_tsc_khz()).map_err(cannot)
    }

    /// Whether time stamp counters can count at another frequency.
    pub(crate) fn scales_tsc(&self) -> bool {
        self.kvm.check_extension(Cap::TscControl)
    }

    /// The CPUID leaves that KVM supports on this host.
    pub(crate) fn supported_cpuid(&self) -> Result<CpuId> {
        self.kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(|e| kvm_error("cannot query the CPU features that KVM supports", e))
    }

    /// Creates a VM with `ram` as its memory, without vCPUs.
    pub(crate) fn create_vm(&self, ram: &GuestRam) -> Result<Vm> {
        Vm::new(self.make_vm()?, ram)
    }

    fn make_vm(&self) -> Result<VmFd> {
        loop {
            match self.kvm.create_vm() {
                // A signal of the program may interrupt the call, which can then be repeated.
                Err(e) if e.errno() == libc::EINTR => {}
                Err(e) if e.errno() == libc::EBUSY => {
                    return Err(kvm_error("KVM cannot create a VM", e)
                        .with_remedy("end the other hypervisor on this host, such as VirtualBox or VMware"));
                }
                result => return result.map_err(|e| kvm_error("KVM cannot create a VM", e)),
            }
        }
    }
}

/// Explains why `/dev/kvm` cannot be opened.
fn open_error(error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => {
            Error::new(ErrorKind::KvmAbsent, "this host has no /dev/kvm").because(error).with_remedy(
                "load the module (modprobe kvm_intel or kvm_amd), switch virtualization on in the firmware, \
                 or pass the device into the container (--device /dev/kvm)",
            )
        }
        Some(libc::EACCES | libc::EPERM) => Error::new(ErrorKind::KvmDenied, "this user may not open /dev/kvm")
            .because(error)
            .with_remedy("add the user to group kvm (usermod -aG kvm USER) and log in again"),
        _ => Error::io("cannot open /dev/kvm", error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_names_its_remedy() {
        let absent = open_error(io::Error::from_raw_os_error(libc::ENOENT));
        assert_eq!(absent.kind(), ErrorKind::KvmAbsent);
        assert!(absent.to_string().contains("modprobe kvm_intel"), "{absent}");
        let denied = open_error(io::Error::from_raw_os_error(libc::EACCES));
        assert_eq!(denied.kind(), ErrorKind::KvmDenied);
        assert!(denied.to_string().contains("usermod -aG kvm"), "{denied}");
    }
}
