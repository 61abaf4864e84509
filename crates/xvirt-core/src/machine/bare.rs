//! The part of a machine that does not depend on the state of its guest: KVM's virtual machine with its memory and vCPUs.
//!
//! Creating it waits for the kernel and for new threads. A VM that arrives from another process has it created before its
//! guest is stopped there.

use std::sync::Arc;

use kvm_bindings::{kvm_irqchip, kvm_msr_entry};

use super::Processors;
use super::signal::Signals;
use super::vcpus::Vcpus;
use crate::Result;
use crate::arch::x86_64::cpuid::CpuidTemplate;
use crate::arch::x86_64::registers::Pristine;
use crate::bus::Bus;
use crate::kvm::{self, Vcpu};
use crate::memory::GuestRam;

/// A machine without devices, as KVM creates it. Its vCPUs are parked.
#[derive(Debug)]
pub(crate) struct BareMachine {
    // Fields are dropped in this order: the users before what they use.
    pub(super) vcpus: Vcpus,
    pub(super) ports: Arc<Bus>,
    pub(super) memory: Arc<Bus>,
    pub(super) signals: Arc<Signals>,
    pub(super) vm: Arc<kvm::Vm>,
    pub(super) pristine: Vec<Pristine>,
    /// The state of the interrupt controllers before the machine ran.
    pub(super) controllers: Vec<kvm_irqchip>,
    pub(super) msrs: Vec<kvm_msr_entry>,
    pub(super) cpuid: CpuidTemplate,
    pub(super) ram: GuestRam,
}

impl BareMachine {
    /// Creates one whose guest is told `cpuid` of its processors.
    ///
    /// # Errors
    /// The host lacks something.
    pub(crate) fn new(processors: &Processors, cpuid: &CpuidTemplate, ram: GuestRam) -> Result<Self> {
        let Processors { system, msrs, count, .. } = processors;
        let vm = Arc::new(system.create_vm(&ram)?);
        let vcpus = create_vcpus(&vm, cpuid, *count)?;
        let pristine = vcpus.iter().map(Pristine::of).collect::<Result<_>>()?;
        let controllers = vm.interrupt_controllers()?;
        let msrs = vcpus.first().map_or_else(|| Ok(Vec::new()), |vcpu| vcpu.msrs(msrs))?;
        let (ports, memory) = (Arc::new(Bus::new("port")), Arc::new(Bus::new("memory-mapped I/O")));
        let signals = Arc::new(Signals::new()?);
        let vcpus = Vcpus::spawn(vcpus, Arc::clone(&ports), Arc::clone(&memory), Arc::clone(&signals))?;
        Ok(Self { vcpus, ports, memory, signals, vm, pristine, controllers, msrs, cpuid: cpuid.clone(), ram })
    }
}

fn create_vcpus(vm: &kvm::Vm, cpuid: &CpuidTemplate, count: u32) -> Result<Vec<Vcpu>> {
    let create = |id| {
        let vcpu = vm.create_vcpu(id)?;
        vcpu.set_cpuid(&cpuid.for_vcpu(id))?;
        Ok(vcpu)
    };
    (0..count).map(create).collect()
}
