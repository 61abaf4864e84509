//! What a KVM says it can do.

use kvm_bindings as bindings;
use serde::{Deserialize, Serialize};

/// What we cannot do without, by its name in [`KvmCapabilities`]; the newest came with Linux 4.13.
pub(super) const REQUIRED: &[(&str, u32)] = &[
    ("user_memory", bindings::KVM_CAP_USER_MEMORY),
    ("irqchip", bindings::KVM_CAP_IRQCHIP),
    ("irqfd", bindings::KVM_CAP_IRQFD),
    ("ioeventfd", bindings::KVM_CAP_IOEVENTFD),
    ("signal_msi", bindings::KVM_CAP_SIGNAL_MSI),
    ("immediate_exit", bindings::KVM_CAP_IMMEDIATE_EXIT),
];

/// What a KVM can do, as far as we use it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvmCapabilities {
    /// The level of its interface; always 12.
    pub api_version: i32,
    /// Guest memory is memory of this process. Required, as the next five.
    pub user_memory: bool,
    /// Interrupt controllers in the kernel.
    pub irqchip: bool,
    /// Interrupts by event descriptor.
    pub irqfd: bool,
    /// Event descriptors that guest writes signal.
    pub ioeventfd: bool,
    /// Message-signalled interrupts by call.
    pub signal_msi: bool,
    /// A vCPU can be stopped before it enters the guest.
    pub immediate_exit: bool,
    /// The interrupt controllers' local part may live in the kernel alone.
    pub split_irqchip: bool,
    /// More than 255 vCPUs can get interrupts.
    pub x2apic_api: bool,
    /// Which pages the guest changed can be asked for piecewise.
    pub dirty_log: bool,
    /// The largest ring that tells which pages the guest changed, in bytes per vCPU; 0 for none.
    pub dirty_ring: u32,
    /// Model-specific registers can be kept from the guest.
    pub msr_filter: bool,
    /// How large a vCPU's extended state can be, in bytes; 0 when it has the fixed 4096.
    pub xsave2: u32,
    /// The guest's clock rate can be chosen, as migration between unlike hosts needs.
    pub tsc_control: bool,
    /// VMs can run VMs and still be moved.
    pub nested_state: bool,
    /// Guest memory that this process cannot read.
    pub guest_memfd: bool,
    /// How many vCPUs a VM can have.
    pub max_vcpus: u32,
    /// How many vCPUs a VM should have at most.
    pub recommended_vcpus: u32,
    /// How many pieces guest memory can consist of.
    pub max_memory_slots: u32,
}

impl KvmCapabilities {
    pub(super) fn ask(api_version: i32, extension: impl Fn(u32) -> i32) -> Self {
        let number = |cap| u32::try_from(extension(cap)).unwrap_or(0);
        let has = |cap| number(cap) > 0;
        let said = |cap| Some(number(cap)).filter(|n| *n > 0);
        // What holds for kernels that do not say, by KVM's own documentation.
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
