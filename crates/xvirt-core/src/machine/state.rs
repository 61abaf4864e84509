//! All state of a machine except its memory, and what a machine does with a state that it is constructed from.
//!
//! A state is read from a parked machine. Devices have stopped by then, but some values go on by themselves: the time
//! stamp counters, KVM's clock and the timers of the local APICs. They are read once, or come from the state that the
//! machine was constructed from, and every save until the machine runs gives the same values.

use std::time::Duration;

use kvm_bindings::kvm_irqchip;
use serde::{Deserialize, Serialize};
use vm_memory::{Bytes, GuestAddress};
use zerocopy::IntoBytes;

use super::devices::SavedDevice;
use super::signal::PendingSignals;
use super::{BareMachine, Machine, Processors};
use crate::arch::x86_64::cpuid::CpuidTemplate;
use crate::arch::x86_64::vcpu_state::VcpuState;
use crate::device::Device;
use crate::kvm::{Clock, Vcpu, plain, real_time};
use crate::memory::GuestRam;
use crate::state::{Kind, Section};
use crate::sync::lock;
use crate::virtio::VirtioPciState;
use crate::{Error, ErrorKind, Result};

/// The largest difference between two frequencies of time stamp counters at which KVM treats them as equal, in
/// millionths (`tsc_tolerance_ppm` of the kernel module).
const TSC_TOLERANCE: u64 = 250;
/// The size of `struct pvclock_wall_clock` of Linux `arch/x86/include/asm/pvclock-abi.h`.
const WALL_CLOCK: usize = 12;

/// All state of a machine except its memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MachineState {
    pub(crate) processors: ProcessorState,
    pub(crate) devices: DeviceStates,
}

/// vCPUs, interrupt controllers and clocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProcessorState {
    /// What the guest was told of its processors.
    cpuid: CpuidTemplate,
    vcpus: Vec<VcpuState>,
    /// The frequency of the time stamp counters, in kHz.
    tsc_khz: u32,
    /// The legacy controllers and the I/O APIC.
    controllers: Vec<Controller>,
    clock: Clock,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Controller(#[serde(with = "plain")] kvm_irqchip);

impl PartialEq for Controller {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes() == other.0.as_bytes()
    }
}

/// The devices in their order, and the signals that the machine's owner has not taken yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceStates {
    pub(crate) devices: Vec<SavedDevice>,
    pub(super) signals: PendingSignals,
}

impl Section for ProcessorState {
    const KIND: Kind = Kind::Processors;
    const VERSION: u32 = 1;
}

impl Section for DeviceStates {
    const KIND: Kind = Kind::Devices;
    const VERSION: u32 = 1;
}

/// How the clocks of a guest account for the time during which it was saved: KVM's clock and the time stamp counters,
/// which go on together. Neither ever goes back.
///
/// The real-time clock always shows the host's time. The timer of ACPI does not count while a guest is saved. The host
/// cannot see which of its clocks a guest derives its date from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ElapsedTime {
    /// The clocks go on as if the guest had run all the time. The date of a guest that uses kvmclock is right at once, and
    /// that of one that uses the time stamp counter is too, unless its kernel loses a part of such a long interval
    /// (Linux computes with intervals of up to about ten minutes). One that uses the timer of ACPI is late by that time.
    #[default]
    Counted,
    /// The clocks go on as if no time had passed: the guest's date is late by that time until it is set, for example by
    /// the guest's NTP client.
    Ignored,
}

/// A state that a machine is constructed from.
#[derive(Debug)]
pub(crate) struct Restore<'a> {
    pub(crate) state: &'a MachineState,
    pub(crate) time: ElapsedTime,
    /// Whether it is the state of another VM, of which this one is a copy.
    pub(crate) of_another: bool,
    /// What is there already.
    pub(crate) prepared: Prepared,
}

/// The parts of a machine that were created before the rest is restored.
#[derive(Debug)]
pub(crate) enum Prepared {
    /// Nothing; the owner fills new memory.
    Nothing,
    /// The guest's memory.
    Memory(GuestRam),
    /// All that does not depend on the state.
    Bare(BareMachine),
}

impl Machine {
    /// All state of the machine except its memory. The machine must be parked. Saving it again gives the same.
    ///
    /// # Errors
    /// A device cannot be saved; the error names the device and the reason. Or KVM does not give a part of it.
    pub(crate) fn save(&self) -> Result<MachineState> {
        let devices = DeviceStates { devices: self.save_devices()?, signals: self.signals.pending() };
        let mut processors = self.read_processors()?;
        let mut first = lock(&self.first_saved);
        processors.keep_time_of(first.get_or_insert_with(|| processors.clone()));
        Ok(MachineState { processors, devices })
    }

    fn read_processors(&self) -> Result<ProcessorState> {
        let listed: Vec<_> = self.msrs.iter().map(|entry| entry.index).collect();
        let (mut vcpus, mut tsc_khz) = (Vec::new(), 0);
        let clock = self.host.vm.clock()?;
        self.vcpus.each(|vcpu| {
            tsc_khz = vcpu.tsc_khz()?;
            vcpus.push(VcpuState::of(vcpu, &listed)?);
            Ok(())
        })?;
        let controllers = self.host.vm.interrupt_controllers()?.into_iter().map(Controller).collect();
        Ok(ProcessorState { cpuid: self.cpuid.clone(), vcpus, tsc_khz, controllers, clock })
    }

    /// Completes a restore, once all devices and the guest's memory are there.
    pub(crate) fn finish_restore(&self) -> Result<()> {
        self.vcpus.each(Vcpu::reload_page_directory_pointers).map_err(refused)
    }

    /// Tells guests that use KVM's clock that they were stopped, so that their watchdogs stay quiet.
    pub(crate) fn tell_stopped(&self) -> Result<()> {
        self.vcpus.each(Vcpu::tell_stopped)
    }
}

impl ProcessorState {
    /// Takes the values that go on by themselves from an earlier state of the same machine.
    fn keep_time_of(&mut self, earlier: &Self) {
        self.clock = earlier.clock;
        self.vcpus.iter_mut().zip(&earlier.vcpus).for_each(|(vcpu, earlier)| vcpu.keep_time_of(earlier));
    }

    /// The guest has asked for the time of its boot at this address.
    #[cfg(all(test, feature = "demo"))]
    pub(super) fn ask_for_wall_clock(&mut self, address: u64) {
        self.vcpus.iter_mut().for_each(|vcpu| vcpu.ask_for_wall_clock(address));
    }

    /// How many vCPUs there are.
    pub(crate) fn count(&self) -> u32 {
        self.vcpus.len() as u32
    }

    /// Checks that `host` has everything that the guest was told of its processors.
    ///
    /// # Errors
    /// `HostUnsupported`, which names what is missing.
    pub(super) fn check_fits(&self, host: &Processors) -> Result<()> {
        if self.count() != host.count {
            let what = format!("it was saved with {} vCPUs, and the VM has {}", self.count(), host.count);
            return Err(Error::new(ErrorKind::InvalidConfig, what).with_remedy("give the VM as many vCPUs"));
        }
        self.cpuid.check_fits(&host.cpuid)
    }

    /// How long ago it was saved.
    pub(crate) fn stopped(&self) -> Duration {
        Duration::from_nanos(real_time().saturating_sub(self.clock.real))
    }

    /// What the guest was told of its processors.
    pub(super) fn cpuid(&self) -> &CpuidTemplate {
        &self.cpuid
    }

    /// Sets the state of processors that have their CPUID and have not run.
    ///
    /// # Errors
    /// `HostUnsupported`: the time stamp counters of this host count at another frequency, or KVM refuses a part of the
    /// state.
    pub(super) fn set(&self, bare: &BareMachine, time: ElapsedTime) -> Result<()> {
        if bare.cpuid != self.cpuid {
            return Err(Error::new(ErrorKind::CorruptState, "it is of other processors than were announced"));
        }
        self.keeping_wall_clock(&bare.ram, || self.set_all(bare, time)).map_err(refused)
    }

    /// KVM writes the time of the boot to the guest's memory when it is told the address, as if the guest asked for it. But
    /// the guest has its answer, and its memory belongs to the source of a migration until the commit.
    fn keeping_wall_clock(&self, ram: &GuestRam, set: impl FnOnce() -> Result<()>) -> Result<()> {
        let addresses = self.vcpus.iter().flat_map(VcpuState::wall_clocks);
        let kept: Vec<_> = addresses
            .filter_map(|address| {
                let mut bytes = [0; WALL_CLOCK];
                ram.read_slice(&mut bytes, GuestAddress(address)).ok().map(|()| (address, bytes))
            })
            .collect();
        let done = set();
        for (address, bytes) in kept {
            // It was read from there.
            let _ = ram.write_slice(&bytes, GuestAddress(address));
        }
        done
    }

    fn set_all(&self, bare: &BareMachine, time: ElapsedTime) -> Result<()> {
        let vm = &bare.vm;
        let elapsed = match time {
            ElapsedTime::Counted => self.stopped().as_nanos() as u64,
            ElapsedTime::Ignored => 0,
        };
        let ticks = u128::from(elapsed) * u128::from(self.tsc_khz) / 1_000_000;
        let controllers: Vec<_> = self.controllers.iter().map(|controller| controller.0).collect();
        vm.set_interrupt_controllers(&controllers)?;
        let mut states = self.vcpus.iter();
        bare.vcpus.each(|vcpu| {
            let Some(state) = states.next() else { return Ok(()) };
            self.set_frequency(vcpu)?;
            let mut state = state.clone();
            state.advance_tsc(ticks as u64);
            state.set(vcpu)
        })?;
        vm.set_clock(self.clock.kvm.saturating_add(elapsed))
    }

    fn set_frequency(&self, vcpu: &Vcpu) -> Result<()> {
        let host = vcpu.tsc_khz()?;
        if is_frequency(self.tsc_khz, host) {
            return Ok(());
        }
        vcpu.set_tsc_khz(self.tsc_khz).map_err(|error| other_frequency(self.tsc_khz, host).because(error))
    }
}

/// Whether a time stamp counter that counts at `guest` kHz can go on at `host` kHz: their difference is that of two
/// measurements.
pub(super) fn is_frequency(guest: u32, host: u32) -> bool {
    u64::from(host.abs_diff(guest)) * 1_000_000 <= u64::from(guest) * TSC_TOLERANCE
}

pub(super) fn other_frequency(guest: u32, host: u32) -> Error {
    let what = format!("its time stamp counter counts at {guest} kHz, and this host's at {host} kHz");
    Error::new(ErrorKind::HostUnsupported, what)
        .with_remedy("use a host with that frequency, or whose CPU can scale the counter")
}

/// The error of setting saved state. KVM says only that it refuses a value, which another host accepted.
pub(super) fn refused(error: Error) -> Error {
    if error.kind() != ErrorKind::Io {
        return error;
    }
    Error::new(ErrorKind::HostUnsupported, "KVM on this host refuses the saved state of the processors")
        .because(error)
        .with_remedy("restore it on the host that saved it, or on one with the same CPU and no older kernel")
}

impl DeviceStates {
    /// The state of a device that every machine has.
    ///
    /// # Errors
    /// `CorruptState`: it is not there.
    pub(super) fn platform<'a, D>(&'a self) -> Result<D::State>
    where
        D: Device,
        D::State: Clone + 'a,
        &'a D::State: TryFrom<&'a super::devices::SavedState>,
    {
        let mut states = self.devices.iter().filter_map(|device| <&D::State>::try_from(&device.state).ok());
        states.next().cloned().ok_or_else(|| {
            let name = std::any::type_name::<D::State>().rsplit("::").next().unwrap_or_default();
            Error::new(ErrorKind::CorruptState, format!("it has no {name}"))
        })
    }

    /// The states of the virtio devices with their PCI slots.
    pub(crate) fn functions(&self) -> impl Iterator<Item = (usize, &VirtioPciState)> {
        self.devices.iter().filter_map(|device| Some((device.slot?, <&VirtioPciState>::try_from(&device.state).ok()?)))
    }

    /// The state of the virtio device in a PCI slot.
    ///
    /// # Errors
    /// `CorruptState`: there is none.
    pub(crate) fn function(&self, slot: usize) -> Result<&VirtioPciState> {
        self.functions().find(|(taken, _)| *taken == slot).map(|(_, state)| state).ok_or_else(|| {
            Error::new(ErrorKind::CorruptState, format!("it has no state of the device in PCI slot {slot}"))
        })
    }
}
