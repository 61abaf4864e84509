//! One assembled VM: memory, vCPUs, buses and devices under one owner.
//!
//! A [`Machine`] is built parked. It can be run, parked, reset to power-on and, by dropping it, taken apart: threads,
//! descriptors and memory go back to the host. It has no notion of power states; that is the floor above.

mod acpi;
mod devices;
mod exits;
mod hotplug;
mod pci_host;
mod platform;
mod power;
mod signal;
mod slots;
#[cfg(test)]
#[cfg(feature = "demo")]
mod tests;
mod vcpus;

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvm_bindings::{kvm_irqchip, kvm_msr_entry};
use uuid::Uuid;

use crate::arch::x86_64::cpuid::CpuidTemplate;
use crate::arch::x86_64::registers::{self, Entry, Pristine};
use crate::bus::Bus;
use crate::cgroup::OutsideGroup;
use crate::config::{ByteSize, CpuConfig, MemoryBacking};
use crate::console::ConsolePort;
use crate::device::power::GeneralEvent;
use crate::device::serial::Serial;
use crate::device::watchdog::Watchdog;
use crate::device::{Device, reset_all};
use crate::kvm::{self, System, Vcpu};
use crate::memory::{GuestRam, allocate};
use crate::sync::lock;
use crate::virtio::VirtioPci;
use crate::{Error, ErrorKind, Result};

use pci_host::MachinePciHost;
use platform::Platform;
use vcpus::Vcpus;

pub(crate) use exits::ExitCounts;
pub use signal::CrashReason;
pub(crate) use signal::{Signal, Signals};

/// What a machine is made of, apart from its virtio devices.
pub(crate) struct Parts<'a> {
    pub(crate) processors: &'a Processors,
    pub(crate) memory: ByteSize,
    pub(crate) backing: &'a MemoryBacking,
    pub(crate) generation_id: Uuid,
    pub(crate) serial: Arc<dyn ConsolePort>,
    /// Whether threads of devices are put under filters of system calls.
    pub(crate) seccomp: bool,
}

/// What the processors of a VM are made from, found out once for all its starts: asking KVM what it can offer takes
/// longer than making a VM.
#[derive(Debug)]
pub(crate) struct Processors {
    system: System,
    cpuid: CpuidTemplate,
    /// The model-specific registers that belong to the state of a vCPU.
    msrs: Vec<u32>,
    count: u32,
}

impl Processors {
    /// Asks this host's KVM.
    pub(crate) fn new(cpus: &CpuConfig) -> Result<Self> {
        let system = System::open()?;
        check_vcpus(&system, cpus.count)?;
        let cpuid = CpuidTemplate::new(&system.supported_cpuid()?, system.has_tsc_deadline(), cpus)?;
        let msrs = system.msr_indices()?;
        Ok(Self { system, cpuid, msrs, count: cpus.count })
    }
}

/// An assembled VM.
#[derive(Debug)]
pub(crate) struct Machine {
    // Fields are dropped in this order: first whatever runs, then whatever it uses.
    vcpus: Vcpus,
    /// The virtio devices by their PCI slots.
    functions: Mutex<BTreeMap<usize, Arc<VirtioPci>>>,
    /// Slots whose device stays as long as the machine, a bit for each; the host bridge's is one.
    fixed: u32,
    platform: Platform,
    signals: Arc<Signals>,
    host: Arc<MachinePciHost>,
    pristine: Vec<Pristine>,
    /// What interrupt controllers and model-specific registers were before the machine ran.
    controllers: Vec<kvm_irqchip>,
    msrs: Vec<kvm_msr_entry>,
    generation_id: Uuid,
    ram: GuestRam,
}

impl Machine {
    /// Assembles a machine without virtio devices, parked and without anything to start.
    pub(crate) fn new(parts: Parts<'_>) -> Result<Self> {
        let Processors { system, cpuid, msrs, count } = parts.processors;
        let ram = allocate(parts.memory, parts.backing)?;
        let vm = Arc::new(system.create_vm(&ram)?);
        let vcpus = create_vcpus(&vm, cpuid, *count)?;
        let pristine = vcpus.iter().map(Pristine::of).collect::<Result<_>>()?;
        let controllers = vm.interrupt_controllers()?;
        let msrs = vcpus.first().map_or_else(|| Ok(Vec::new()), |vcpu| vcpu.msrs(msrs))?;

        let signals = Arc::new(Signals::new()?);
        let (ports, memory) = (Arc::new(Bus::new("port")), Arc::new(Bus::new("memory-mapped I/O")));
        let platform = Platform::new(&vm, &ports, &memory, parts.serial, &signals)?;
        let vcpus = Vcpus::spawn(vcpus, ports, Arc::clone(&memory), Arc::clone(&signals))?;
        let host = Arc::new(MachinePciHost {
            vm,
            memory,
            signals: Arc::clone(&signals),
            seccomp: parts.seccomp,
            outside: Mutex::default(),
        });
        Ok(Self {
            vcpus,
            functions: Mutex::default(),
            fixed: 1,
            platform,
            signals,
            host,
            pristine,
            controllers,
            msrs,
            generation_id: parts.generation_id,
            ram,
        })
    }

    /// Guest memory, for loading what is to be started.
    pub(crate) fn ram(&self) -> &GuestRam {
        &self.ram
    }

    /// The serial port, which needs somebody to carry its input.
    pub(crate) fn serial(&self) -> &Arc<Serial> {
        &self.platform.serial
    }

    /// The watchdog, which needs somebody to act when it bites.
    pub(crate) fn watchdog(&self) -> &Arc<Watchdog> {
        &self.platform.watchdog
    }

    /// What the machine tells, which needs somebody to act on it.
    pub(crate) fn signals(&self) -> &Arc<Signals> {
        &self.signals
    }

    /// Puts all processors at power-on and the first one at `entry`. The machine is parked.
    pub(crate) fn prepare(&self, entry: Entry) -> Result<()> {
        acpi::write_tables(&self.ram, self.pristine.len() as u32, !self.fixed, self.generation_id)?;
        let mut pristine = self.pristine.iter();
        self.vcpus.each(|vcpu| pristine.next().map_or(Ok(()), |pristine| registers::power_on(vcpu, pristine)))?;
        self.vcpus.each(|vcpu| if vcpu.id() == 0 { registers::enter(vcpu, &self.ram, entry) } else { Ok(()) })
    }

    /// Puts the machine at power-on, all but the registers that [`prepare`](Self::prepare) sets. It is parked; memory
    /// keeps its contents, as on a PC. What the guest told before is forgotten.
    pub(crate) fn reset(&self) -> Result<()> {
        self.signals.clear();
        // What the guest did to them. It takes no file descriptors, of which there may be none left by now.
        self.host.vm.set_interrupt_controllers(&self.controllers)?;
        self.vcpus.each(|vcpu| registers::reset_msrs(vcpu, &self.msrs))?;
        reset_all(self.devices().iter().map(|placed| &*placed.device as &dyn Device))
    }

    /// Gives the machine another generation ID, and tells the guest: it is a copy, or has gone back in time.
    #[expect(dead_code, reason = "no machine is a copy of one that ran so far")]
    pub(crate) fn set_generation_id(&mut self, id: Uuid) -> Result<()> {
        acpi::write_generation_id(&self.ram, id)?;
        self.generation_id = id;
        self.platform.power.raise(GeneralEvent::GenerationId);
        Ok(())
    }

    /// Lets the guest run, and gives out what it told before it was parked.
    pub(crate) fn run(&self) {
        self.devices().iter().for_each(|placed| placed.device.resume());
        self.signals.release();
        self.vcpus.run();
    }

    /// Stops the guest: once this returns, neither vCPUs nor devices touch its memory or disks, and the machine tells
    /// nothing until it runs again.
    ///
    /// # Errors
    /// The program keeps the vCPUs from being stopped; then the guest goes on.
    pub(crate) fn park(&self) -> Result<()> {
        self.vcpus.park()?;
        self.signals.hold();
        self.devices().iter().rev().for_each(|placed| placed.device.pause());
        Ok(())
    }

    /// For each vCPU, why it left the guest so far, and how much of the host's processors its thread has taken.
    pub(crate) fn vcpu_statistics(&self) -> impl Iterator<Item = (ExitCounts, Duration)> {
        self.vcpus.statistics()
    }

    /// Has threads of devices that vCPUs start from now on not be in the control group of the vCPUs.
    pub(crate) fn keep_device_threads_out(&self, outside: OutsideGroup) {
        *lock(&self.host.outside) = Some(outside);
    }

    /// What the kernel calls the threads of the vCPUs.
    pub(crate) fn vcpu_threads(&self) -> impl Iterator<Item = u32> {
        self.vcpus.threads()
    }

    /// The virtio devices, in the order of their slots.
    pub(crate) fn functions(&self) -> Vec<Arc<VirtioPci>> {
        lock(&self.functions).values().cloned().collect()
    }

    /// Presses the power button.
    pub(crate) fn press_power_button(&self) {
        self.platform.power.press_button();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.vcpus.stop();
        let functions = mem::take(&mut *lock(&self.functions));
        for (slot, function) in functions {
            function.stop();
            // A function reaches the memory bus, on which the PCI bus is, which has the function: the circle ends here.
            let _ = self.platform.pci.remove(slot);
        }
    }
}

fn check_vcpus(system: &System, count: u32) -> Result<()> {
    let most = system.max_vcpus();
    if count as usize > most {
        return Err(Error::new(ErrorKind::HostUnsupported, format!("KVM on this host cannot run {count} vCPUs"))
            .with_remedy(format!("give the VM at most {most}")));
    }
    Ok(())
}

fn create_vcpus(vm: &kvm::Vm, cpuid: &CpuidTemplate, count: u32) -> Result<Vec<Vcpu>> {
    let create = |id| {
        let vcpu = vm.create_vcpu(id)?;
        vcpu.set_cpuid(&cpuid.for_vcpu(id))?;
        Ok(vcpu)
    };
    (0..count).map(create).collect()
}
