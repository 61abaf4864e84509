//! All state of a vCPU, as plain data, and how it is read and set.
//!
//! The order of setting is that of [`registers`](super::registers). What is added here:
//!
//! - The run state is read first, because KVM delivers what waits for the vCPU (INIT, SIPI, an NMI) when it is asked
//!   for it, which changes registers. Pending events are read last, for the same reason.
//! - The time stamp counter is set before the local APIC, whose timer is computed from it, and the deadline of that
//!   timer after the local APIC, which stops the timer when it is set.
//! - Pending events are set last: setting registers may queue some.

use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};

use kvm_bindings::{kvm_debugregs, kvm_lapic_state, kvm_msr_entry, kvm_regs, kvm_sregs, kvm_vcpu_events, kvm_xcrs};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::kvm::{Vcpu, plain};

const MSR_IA32_TSC: u32 = 0x10;
const MSR_IA32_TSC_DEADLINE: u32 = 0x6E0;

/// The register of the local APIC that holds what is left of its timer (Intel SDM volume 3, table 12-1).
const CURRENT_COUNT: Range<usize> = 0x390..0x394;

/// Memory type range registers, which KVM keeps but does not list: the variable ranges, the fixed ones, and the default
/// type (Intel SDM volume 3, section 12.11).
const MTRRS: [RangeInclusive<u32>; 5] = [0x200..=0x20F, 0x250..=0x250, 0x258..=0x259, 0x268..=0x26F, 0x2FF..=0x2FF];

/// `MSR_KVM_WALL_CLOCK` and `MSR_KVM_WALL_CLOCK_NEW`.
const WALL_CLOCKS: [u32; 2] = [0x11, 0x4b56_4d00];

/// The state of a vCPU, all but its CPUID.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct VcpuState {
    /// Its APIC id.
    pub(crate) id: u32,
    /// Whether it runs, has halted, or waits to be started (`struct kvm_mp_state`).
    run_state: u32,
    #[serde(with = "plain")]
    regs: kvm_regs,
    #[serde(with = "plain")]
    sregs: kvm_sregs,
    /// What the instruction XSAVE stores, as long as KVM says.
    #[serde(with = "serde_bytes")]
    xsave: Vec<u8>,
    #[serde(with = "plain")]
    xcrs: kvm_xcrs,
    /// Model-specific registers.
    msrs: Vec<Msr>,
    #[serde(with = "plain")]
    lapic: kvm_lapic_state,
    #[serde(with = "plain")]
    debug: kvm_debugregs,
    #[serde(with = "plain")]
    events: kvm_vcpu_events,
}

/// A model-specific register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Msr {
    index: u32,
    value: u64,
}

impl VcpuState {
    /// Reads the state of a vCPU that does not run. `listed` are the model-specific registers that KVM says belong to
    /// it.
    pub(crate) fn of(vcpu: &Vcpu, listed: &[u32]) -> Result<Self> {
        let run_state = vcpu.mp_state()?;
        let (regs, sregs, xsave, xcrs) = (vcpu.regs()?, vcpu.sregs()?, vcpu.xsave_bytes()?, vcpu.xcrs()?);
        let indices: BTreeSet<u32> = listed.iter().copied().chain(MTRRS.into_iter().flatten()).collect();
        let indices: Vec<u32> = indices.into_iter().collect();
        let msrs = vcpu.msrs(&indices)?.iter().map(|entry| Msr { index: entry.index, value: entry.data }).collect();
        let (lapic, debug, events) = (vcpu.lapic()?, vcpu.debug_registers()?, vcpu.events()?);
        Ok(Self { id: vcpu.id(), run_state, regs, sregs, xsave, xcrs, msrs, lapic, debug, events })
    }

    /// Sets the state of a vCPU that has its CPUID and has not run yet.
    ///
    /// # Errors
    /// KVM refuses a part of it, which the error names.
    pub(crate) fn set(&self, vcpu: &Vcpu) -> Result<()> {
        vcpu.set_sregs(&self.sregs)?;
        vcpu.set_regs(&self.regs)?;
        vcpu.set_xsave_bytes(&self.xsave)?;
        vcpu.set_xcrs(&self.xcrs)?;
        let is_deadline = |msr: &&Msr| msr.index == MSR_IA32_TSC_DEADLINE;
        self.msrs.iter().filter(|msr| !is_deadline(msr)).try_for_each(|msr| msr.set(vcpu))?;
        vcpu.set_lapic(&self.lapic)?;
        self.msrs.iter().filter(is_deadline).try_for_each(|msr| msr.set(vcpu))?;
        vcpu.set_debug_registers(&self.debug)?;
        vcpu.set_mp_state(self.run_state)?;
        vcpu.set_events(&self.events)
    }

    /// Takes the values that go on by themselves from an earlier state: the time stamp counter and what is left of the
    /// local APIC's timer.
    pub(crate) fn keep_time_of(&mut self, earlier: &Self) {
        let is_counter = |msr: &&Msr| msr.index == MSR_IA32_TSC;
        if let Some(counter) = earlier.msrs.iter().find(is_counter)
            && let Some(msr) = self.msrs.iter_mut().find(|msr| msr.index == MSR_IA32_TSC)
        {
            msr.value = counter.value;
        }
        self.lapic.regs[CURRENT_COUNT].copy_from_slice(&earlier.lapic.regs[CURRENT_COUNT]);
    }

    /// Where KVM writes the time of the boot when the registers that hold these addresses are set (Linux
    /// `Documentation/virt/kvm/x86/msr.rst`, `MSR_KVM_WALL_CLOCK`).
    pub(crate) fn wall_clocks(&self) -> impl Iterator<Item = u64> {
        let set = |msr: &&Msr| WALL_CLOCKS.contains(&msr.index) && msr.value != 0;
        self.msrs.iter().filter(set).map(|msr| msr.value)
    }

    /// Lets the time stamp counter go on by `ticks`.
    pub(crate) fn advance_tsc(&mut self, ticks: u64) {
        if let Some(msr) = self.msrs.iter_mut().find(|msr| msr.index == MSR_IA32_TSC) {
            msr.value = msr.value.wrapping_add(ticks);
        }
    }
}

#[cfg(all(test, feature = "demo"))]
impl VcpuState {
    /// The guest has asked for the time of the boot at this address.
    pub(crate) fn ask_for_wall_clock(&mut self, address: u64) {
        let index = WALL_CLOCKS[1];
        self.msrs.retain(|msr| msr.index != index);
        self.msrs.push(Msr { index, value: address });
    }
}

impl Msr {
    fn set(&self, vcpu: &Vcpu) -> Result<()> {
        let entry = kvm_msr_entry { index: self.index, data: self.value, ..Default::default() };
        let Err(error) = vcpu.set_msrs(&[entry]) else { return Ok(()) };
        // Some can be read but not written. There is nothing to do for one that has the value already.
        match vcpu.msrs(&[self.index])?.first() {
            Some(now) if now.data == self.value => Ok(()),
            _ => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::x86_64::registers::{Pristine, power_on};
    use crate::config::{ByteSize, MemoryBacking};
    use crate::kvm::System;
    use crate::memory::allocate;

    /// Two vCPUs of a VM, and the registers that belong to each.
    fn vcpus() -> Option<([Vcpu; 2], Vec<u32>)> {
        let system = match System::open(None) {
            Ok(system) => system,
            Err(error) => {
                println!("SKIPPED {}: {error}", std::thread::current().name().unwrap_or("?"));
                return None;
            }
        };
        let vm = system.create_vm(&allocate(ByteSize::mib(2), &MemoryBacking::default()).unwrap()).unwrap();
        let vcpus = [0, 1].map(|id| {
            let vcpu = vm.create_vcpu(id).unwrap();
            vcpu.set_cpuid(&system.supported_cpuid().unwrap()).unwrap();
            power_on(&vcpu, &Pristine::of(&vcpu).unwrap()).unwrap();
            vcpu
        });
        Some((vcpus, system.msr_indices().unwrap()))
    }

    /// A state without what goes on by itself.
    fn still(mut state: VcpuState) -> VcpuState {
        state.msrs.retain(|msr| msr.index != MSR_IA32_TSC);
        state
    }

    #[test]
    fn what_is_set_is_read_again() {
        let Some(([vcpu, _], listed)) = vcpus() else { return };
        let mut state = VcpuState::of(&vcpu, &listed).unwrap();
        (state.regs.rax, state.regs.rip, state.debug.db[0]) = (0x1234, 0x1000, 0x5678);
        (state.events.nmi.masked, state.run_state) = (1, kvm_bindings::KVM_MP_STATE_HALTED);
        // The processor priority and CR8 follow the task priority.
        (state.lapic.regs[0x80], state.lapic.regs[0xA0], state.sregs.cr8) = (0x20, 0x20, 2);
        let mtrr = state.msrs.iter_mut().find(|msr| msr.index == 0x250).unwrap();
        mtrr.value = 0x0606_0606_0606_0606;
        let text = rmp_serde::to_vec_named(&state).unwrap();
        let state: VcpuState = rmp_serde::from_slice(&text).unwrap();
        state.set(&vcpu).unwrap();
        let now = VcpuState::of(&vcpu, &listed).unwrap();
        let tsc = |state: &VcpuState| state.msrs.iter().find(|msr| msr.index == MSR_IA32_TSC).unwrap().value;
        assert!(tsc(&now).wrapping_sub(tsc(&state)) < 1 << 40);
        let (now, state) = (still(now), still(state));
        let other: Vec<_> = now.msrs.iter().zip(&state.msrs).filter(|(now, then)| now != then).collect();
        assert!(other.is_empty(), "{other:x?}");
        let lapic: Vec<_> = (0..1024).filter(|at| now.lapic.regs[*at] != state.lapic.regs[*at]).collect();
        assert!(lapic.is_empty(), "{lapic:x?}");
        assert_eq!((now.run_state, now.regs, now.sregs), (state.run_state, state.regs, state.sregs));
        assert_eq!((now.debug, now.events), (state.debug, state.events));
        assert!(now == state, "the extended state is another");
    }

    #[test]
    fn another_vcpu_takes_the_state_over() {
        let Some(([first, second], listed)) = vcpus() else { return };
        let state = VcpuState::of(&first, &listed).unwrap();
        let mut other = VcpuState { id: 1, ..state };
        // The id of the local APIC is the vCPU's own.
        other.lapic = VcpuState::of(&second, &listed).unwrap().lapic;
        other.set(&second).unwrap();
        assert_eq!(still(VcpuState::of(&second, &listed).unwrap()), still(other));
    }

    #[test]
    fn a_register_that_kvm_refuses_is_named() {
        let Some(([vcpu, _], listed)) = vcpus() else { return };
        let mut state = VcpuState::of(&vcpu, &listed).unwrap();
        state.msrs.push(Msr { index: 0xDEAD, value: 1 });
        let error = state.set(&vcpu).unwrap_err().to_string();
        assert!(error.contains("0xdead"), "{error}");
    }

    #[test]
    fn a_structure_of_another_length_is_refused() {
        let Some(([vcpu, _], listed)) = vcpus() else { return };
        #[derive(Serialize)]
        struct Short {
            #[serde(with = "serde_bytes")]
            regs: Vec<u8>,
        }
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "only its decoding is tested")]
        struct Regs {
            #[serde(with = "plain")]
            regs: kvm_regs,
        }
        let length = size_of_val(&VcpuState::of(&vcpu, &listed).unwrap().regs);
        for (bytes, fits) in [(length, true), (length - 1, false), (length + 1, false)] {
            let text = rmp_serde::to_vec_named(&Short { regs: vec![1; bytes] }).unwrap();
            assert_eq!(rmp_serde::from_slice::<Regs>(&text).is_ok(), fits, "{bytes}");
        }
    }
}
