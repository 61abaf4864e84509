//! The capabilities of KVM.

use kvm_bindings as bindings;
use serde::{Deserialize, Serialize};

/// The required capabilities, by name in [`KvmCapabilities`]; the newest one came with Linux 4.13.
pub(super) const REQUIRED: &[(&str, u32)] = &[
    ("user_memory", bindings::KVM_CAP_USER_MEMORY),
    ("irqchip", bindings::KVM_CAP_IRQCHIP),
    ("ioeventfd", bindings::KVM_CAP_IOEVENTFD),
    ("signal_msi", bindings::KVM_CAP_SIGNAL_MSI),
    ("immediate_exit", bindings::KVM_CAP_IMMEDIATE_EXIT),
];

/// The capabilities of KVM that matter to xvirt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvmCapabilities {
    /// The API version; always 12.
    pub api_version: i32,
    /// Guest memory in the memory of this process. Required.
    pub user_memory: bool,
    /// In-kernel interrupt controllers. Required.
    pub irqchip: bool,
    /// Interrupts through event descriptors, which xvirt does not use.
    pub irqfd: bool,
    /// Event descriptors that are signalled by guest writes. Required.
    pub ioeventfd: bool,
    /// Message-signalled interrupts through a system call. Required.
    pub signal_msi: bool,
    /// A vCPU can be stopped before it enters the guest. Required.
    pub immediate_exit: bool,
    /// The in-kernel interrupt controllers can be limited to the local APICs.
    pub split_irqchip: bool,
    /// Interrupts for more than 255 vCPUs.
    pub x2apic_api: bool,
    /// The log of pages changed by the guest can be cleared in parts.
    pub dirty_log: bool,
    /// The maximum size of the dirty ring in bytes per vCPU; 0 if not supported.
    pub dirty_ring: u32,
    /// Guest accesses to model-specific registers can be filtered.
    pub msr_filter: bool,
    /// The maximum size of a vCPU's extended state in bytes; 0 if it has the fixed size of 4096.
    pub xsave2: u32,
    /// The guest's TSC frequency can be set, which migration between different hosts needs.
    pub tsc_control: bool,
    /// The state of nested virtualization can be saved.
    pub nested_state: bool,
    /// Guest memory that this process cannot access.
    pub guest_memfd: bool,
    /// The most vCPUs of a VM.
    pub max_vcpus: u32,
    /// The recommended maximum of vCPUs of a VM.
    pub recommended_vcpus: u32,
    /// The most memory slots of a VM.
    pub max_memory_slots: u32,
}

impl KvmCapabilities {
    pub(super) fn ask(api_version: i32, extension: impl Fn(u32) -> i32) -> Self {
        let number = |cap| u32::try_from(extension(cap)).unwrap_or(0);
        let has = |cap| number(cap) > 0;
        let said = |cap| Some(number(cap)).filter(|n| *n > 0);
        // The defaults in KVM's documentation for kernels that do not report these values.
        let recommended_vcpus = said(bindings::KVM_CAP_NR_VCPUS).unwrap_or(4);
        Self {
            api_version,
            user_memory: has(bindings::KVM_CAP_USER_MEMORY),
            irqchip: has(bindings::KVM_CAP_IRQCHIP),
            irqfd: has(bindings::KVM_CAP_IRQFD),
            ioeventfd: has(bindings::KVM_CAP_IOEVENTFD),
            signal_msi: has(bindings::KVM_CAP_SIGNAL_MSI),
            immediate_exit: has(bindings::KVM_CAP_IMMEDIATE_EXIT),
            split_irqchip: has(bindings::KVM_CAP_SPLIT_IRQCHIP),
            x2apic_api: has(bindings::KVM_CAP_X2APIC_API),
            dirty_log: has(bindings::KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2),
            dirty_ring: number(bindings::KVM_CAP_DIRTY_LOG_RING),
            msr_filter: has(bindings::KVM_CAP_X86_MSR_FILTER),
            xsave2: number(bindings::KVM_CAP_XSAVE2),
            tsc_control: has(bindings::KVM_CAP_TSC_CONTROL),
            nested_state: has(bindings::KVM_CAP_NESTED_STATE),
            guest_memfd: has(bindings::KVM_CAP_GUEST_MEMFD),
            max_vcpus: said(bindings::KVM_CAP_MAX_VCPUS).unwrap_or(recommended_vcpus),
            recommended_vcpus,
            max_memory_slots: said(bindings::KVM_CAP_NR_MEMSLOTS).unwrap_or(32),
        }
    }
}
