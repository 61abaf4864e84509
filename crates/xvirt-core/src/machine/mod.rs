//! One assembled VM: memory, vCPUs, buses and devices under one owner.
//!
//! A [`Machine`] is built parked. It can run, be parked and be reset to power-on. Dropping it returns its threads,
//! descriptors and memory to the host. It knows no power states; those belong to `vm`.

mod acpi;
mod bare;
mod boot_file;
mod boot_source;
mod devices;
mod exits;
mod hotplug;
mod pci_host;
mod platform;
mod power;
mod signal;
mod slots;
mod state;
#[cfg(test)]
#[cfg(feature = "demo")]
mod tests;
mod throttle;
mod vcpus;

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvm_bindings::{kvm_irqchip, kvm_msr_entry};
use uuid::Uuid;
use vm_memory::GuestMemoryBackend;

use crate::arch::x86_64::cpuid::{CpuidTemplate, Supported};
use crate::arch::x86_64::registers::{self, Pristine};
use crate::cgroup::OutsideGroup;
use crate::config::{Boot, ByteSize, CpuBaseline, CpuConfig, MemoryBacking};
use crate::console::ConsolePort;
use crate::device::power::GeneralEvent;
use crate::device::serial::Serial;
use crate::device::watchdog::Watchdog;
use crate::device::{Device, reset_all};
use crate::host::Host;
use crate::kvm::{DirtyLog, System};
use crate::memory::{GuestRam, allocate};
use crate::progress::uninterruptible;
use crate::sync::lock;
use crate::virtio::VirtioPci;
use crate::{Error, ErrorKind, Result};

use boot_source::BootSource;
use pci_host::MachinePciHost;
use platform::Platform;
use vcpus::Vcpus;

pub(crate) use bare::BareMachine;
pub(crate) use boot_source::DiskAt;
pub(crate) use exits::ExitCounts;
pub use signal::CrashReason;
pub(crate) use signal::{Signal, Signals};
pub use state::ElapsedTime;
pub(crate) use state::{DeviceStates, MachineState, Prepared, ProcessorState, Restore};
pub(crate) use throttle::Throttle;

/// The parts of a machine, except its virtio devices.
pub(crate) struct Parts<'a> {
    pub(crate) processors: &'a Processors,
    pub(crate) memory: ByteSize,
    pub(crate) backing: &'a MemoryBacking,
    pub(crate) generation_id: Uuid,
    /// What it boots.
    pub(crate) boot: &'a Boot,
    pub(crate) serial: Arc<dyn ConsolePort>,
    /// Whether device threads get seccomp filters.
    pub(crate) seccomp: bool,
    /// The saved state that the machine goes on from, if any.
    pub(crate) restore: Option<Restore<'a>>,
}

/// The CPU model of a VM. It is determined once for all starts, because asking KVM for its capabilities takes longer
/// than building a VM.
#[derive(Debug)]
pub(crate) struct Processors {
    system: System,
    cpuid: CpuidTemplate,
    /// The model-specific registers that are part of a vCPU's state.
    msrs: Vec<u32>,
    count: u32,
}

impl Processors {
    /// Asks KVM on this host.
    pub(crate) fn new(cpus: &CpuConfig, host: &Host) -> Result<Self> {
        let system = System::open(host.kvm_device())?;
        check_vcpus(&system, cpus.count)?;
        let cpuid = CpuidTemplate::new(&supported(&system, host)?, cpus)?;
        let msrs = system.msr_indices()?;
        Ok(Self { system, cpuid, msrs, count: cpus.count })
    }

    /// Checks that this host has everything that a guest was told of its processors elsewhere.
    ///
    /// # Errors
    /// `HostUnsupported`, which names what is missing.
    pub(crate) fn check_fits(&self, guest: &CpuidTemplate) -> Result<()> {
        guest.check_fits(&self.cpuid)
    }

    /// Checks that this host can run a guest whose time stamp counter counts at `frequency` kHz.
    ///
    /// # Errors
    /// `HostUnsupported`.
    pub(crate) fn check_tsc(&self, frequency: u32) -> Result<()> {
        let host = self.system.tsc_khz()?;
        if self.system.scales_tsc() || state::is_frequency(frequency, host) {
            return Ok(());
        }
        Err(state::other_frequency(frequency, host))
    }
}

/// The CPU features that this host has for its guests.
///
/// # Errors
/// KVM cannot be used.
pub(crate) fn cpu_baseline(host: &Host) -> Result<CpuBaseline> {
    Ok(supported(&System::open(host.kvm_device())?, host)?.baseline())
}

fn supported(system: &System, host: &Host) -> Result<Supported> {
    let cpuid = host.supported_cpuid(|| system.supported_cpuid())?;
    Ok(Supported { cpuid, tsc_deadline: system.has_tsc_deadline() })
}

/// An assembled VM.
#[derive(Debug)]
pub(crate) struct Machine {
    // Fields are dropped in this order: the users before what they use.
    vcpus: Vcpus,
    /// The virtio devices by their PCI slots.
    functions: Mutex<BTreeMap<usize, Arc<VirtioPci>>>,
    /// Slots whose device stays as long as the machine, one bit each; the host bridge's slot is one of them.
    fixed: u32,
    platform: Platform,
    signals: Arc<Signals>,
    host: Arc<MachinePciHost>,
    pristine: Vec<Pristine>,
    /// The state of the interrupt controllers before the machine ran.
    controllers: Vec<kvm_irqchip>,
    msrs: Vec<kvm_msr_entry>,
    cpuid: CpuidTemplate,
    tsc_khz: u32,
    /// The state of the processors as it was saved first, or restored, until the machine runs. Later saves give its time.
    first_saved: Mutex<Option<ProcessorState>>,
    generation_id: Uuid,
    boot: BootSource,
    ram: GuestRam,
}

impl Machine {
    /// Assembles a parked machine without virtio devices and without a kernel loaded. One that goes on from a saved
    /// state also has to be given its memory, and the virtio devices it had with their states.
    ///
    /// # Errors
    /// The host lacks something, or the saved state does not fit it.
    pub(crate) fn new(parts: Parts<'_>) -> Result<Self> {
        let processors = parts.processors;
        let (saved, bare) = match parts.restore {
            None => (None, BareMachine::new(processors, &processors.cpuid, allocate(parts.memory, parts.backing)?)?),
            Some(Restore { state, time, prepared, .. }) => {
                state.processors.check_fits(processors)?;
                let with = |ram| BareMachine::new(processors, state.processors.cpuid(), ram).map_err(state::refused);
                let bare = match prepared {
                    Prepared::Bare(bare) => bare,
                    Prepared::Memory(ram) => with(ram)?,
                    Prepared::Nothing => with(allocate(parts.memory, parts.backing)?)?,
                };
                // Before the devices, which deliver interrupts that were pending.
                state.processors.set(&bare, time)?;
                bare.signals.restore(state.devices.signals.clone());
                (Some(state), bare)
            }
        };
        // If this fails, they are dropped in the opposite order: the vCPUs before their memory.
        let BareMachine { ram, cpuid, msrs, controllers, pristine, vm, signals, memory, ports, vcpus } = bare;
        let mut tsc_khz = 0;
        vcpus.each(|vcpu| vcpu.tsc_khz().map(|khz| tsc_khz = khz))?;
        let platform = Platform::new(&vm, &ports, &memory, parts.serial, &signals, saved.map(|state| &state.devices))?;
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
            cpuid,
            tsc_khz,
            first_saved: Mutex::new(saved.map(|state| state.processors.clone())),
            generation_id: parts.generation_id,
            boot: BootSource::new(parts.boot),
            ram,
        })
    }

    /// What the guest was told of its processors.
    pub(crate) fn cpuid(&self) -> &CpuidTemplate {
        &self.cpuid
    }

    /// The frequency of the guest's time stamp counter, in kHz.
    pub(crate) fn tsc_khz(&self) -> u32 {
        self.tsc_khz
    }

    /// Guest memory, to be saved and to be filled from saved state.
    pub(crate) fn ram(&self) -> &GuestRam {
        &self.ram
    }

    /// Starts to log which memory the guest and its devices write.
    ///
    /// # Errors
    /// [`Busy`](ErrorKind::Busy) if that is logged already.
    pub(crate) fn dirty_log(&self) -> Result<DirtyLog> {
        DirtyLog::start(Arc::clone(&self.host.vm), self.ram.clone())
    }

    /// The serial port; the owner must forward its input.
    pub(crate) fn serial(&self) -> &Arc<Serial> {
        &self.platform.serial
    }

    /// The watchdog; the owner must act when it expires.
    pub(crate) fn watchdog(&self) -> &Arc<Watchdog> {
        &self.platform.watchdog
    }

    /// The signals of the machine; the owner must act on them.
    pub(crate) fn signals(&self) -> &Arc<Signals> {
        &self.signals
    }

    /// Loads the boot source and puts all vCPUs into their power-on state, the first one at the kernel's entry. The
    /// machine must be parked, and new or just reset.
    ///
    /// # Errors
    /// The boot source cannot be loaded. The machine must not run then.
    pub(crate) fn power_on(&self, disk_at: DiskAt<'_>) -> Result<()> {
        let entry = self.boot.load(disk_at, &self.ram)?;
        acpi::write_tables(&self.ram, self.pristine.len() as u32, !self.fixed, self.generation_id)?;
        let mut pristine = self.pristine.iter();
        self.vcpus.each(|vcpu| pristine.next().map_or(Ok(()), |pristine| registers::power_on(vcpu, pristine)))?;
        self.vcpus.each(|vcpu| if vcpu.id() == 0 { registers::enter(vcpu, &self.ram, entry) } else { Ok(()) })
    }

    /// Resets the machine and powers it on again. The machine must be parked. Memory keeps its contents, as on a PC,
    /// except where the boot source is loaded; pending signals are discarded.
    ///
    /// # Errors
    /// As [`power_on`](Self::power_on), or a device cannot be reset. The machine must not run then.
    pub(crate) fn reset(&self, disk_at: DiskAt<'_>) -> Result<()> {
        if self.vcpus.recover() {
            // Nobody needs what was in memory.
            self.ram.iter().for_each(|region| region.get_mmap().bitmap().set_keeper(None));
        }
        self.signals.clear();
        lock(&self.first_saved).take();
        // Undoes the guest's changes. This opens no file descriptors, because none may be left at this point.
        self.host.vm.set_interrupt_controllers(&self.controllers)?;
        self.vcpus.each(|vcpu| registers::reset_msrs(vcpu, &self.msrs))?;
        reset_all(self.devices().iter().map(|placed| &*placed.device as &dyn Device))?;
        // Whoever cancels the call now would have a VM that cannot run.
        uninterruptible(|| self.power_on(disk_at))
    }

    /// Sets a new generation ID and notifies the guest that it is a copy or was reverted.
    pub(crate) fn announce_generation_id(&self) -> Result<()> {
        acpi::write_generation_id(&self.ram, self.generation_id)?;
        self.platform.power.raise(GeneralEvent::GenerationId);
        Ok(())
    }

    /// Runs a guest that ran before, and tells one that uses kvmclock that it was stopped, so that its lockup detectors do
    /// not fire.
    pub(crate) fn run_again(&self) {
        if let Err(error) = self.tell_stopped() {
            tracing::warn!("the guest may report a lockup, because it cannot be told that it was stopped: {error}");
        }
        self.run();
    }

    /// Runs the guest, and releases signals that were held back while it was parked.
    pub(crate) fn run(&self) {
        lock(&self.first_saved).take();
        self.devices().iter().for_each(|placed| placed.device.resume());
        self.signals.release();
        self.vcpus.run();
    }

    /// Stops the guest. When this returns, neither vCPUs nor devices touch guest memory or disks, and no signals are
    /// delivered until the machine runs again.
    ///
    /// # Errors
    /// The program blocks or handles the signal that interrupts vCPUs; then the guest keeps running.
    pub(crate) fn park(&self) -> Result<()> {
        self.vcpus.park()?;
        self.signals.hold();
        self.devices().iter().rev().for_each(|placed| placed.device.pause());
        Ok(())
    }

    /// Lets the guest execute no further instruction, until a reset: if it runs or is told to run, it crashes for this
    /// reason. Does not wait.
    pub(crate) fn fail(&self, reason: CrashReason) {
        self.vcpus.fail(reason);
    }

    /// Like [`fail`](Self::fail), of a machine that is about to be dropped: nobody is told.
    pub(crate) fn end(&self) {
        self.signals.hold();
        self.vcpus.fail(CrashReason::Hardware("the machine is being torn down".to_owned()));
    }

    /// Why the guest must not run.
    pub(crate) fn failure(&self) -> Option<CrashReason> {
        self.vcpus.failure()
    }

    /// The exit counts of each vCPU, and the host CPU time of its thread.
    pub(crate) fn vcpu_statistics(&self) -> impl Iterator<Item = (ExitCounts, Duration)> {
        self.vcpus.statistics()
    }

    /// Keeps device threads that vCPUs start from now on out of the control group of the vCPUs.
    pub(crate) fn keep_device_threads_out(&self, outside: OutsideGroup) {
        *lock(&self.host.outside) = Some(outside);
    }

    /// The thread ids (gettid(2)) of the vCPU threads.
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
            // A function holds the memory bus, which holds the PCI bus, which holds the function: this breaks the
            // cycle.
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
