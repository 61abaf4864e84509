//! A CPU's registers at power-on, and as each boot protocol wants them.
//!
//! # The order in which a vCPU's state is set
//!
//! Whatever sets all of a vCPU's state has to keep to this order, in which a vCPU that has run is reset. The reasons are
//! what KVM does with each call (Linux `Documentation/virt/kvm/api.rst` and `arch/x86/kvm`); QEMU's
//! `kvm_arch_put_registers` has much the same order.
//!
//! 1. CPUID, once, before the vCPU first runs: it decides which bits of the others are reserved.
//! 2. Model-specific registers that a guest wrote ([`reset_msrs`]), while nothing else has changed.
//! 3. Special registers: the mode of the CPU (`EFER`, `CR0`, `CR4`), which the other registers are understood by, and
//!    the base of the local APIC, whose mode (xAPIC or x2APIC) decides what its state means.
//! 4. General registers, then the extended state and `XCR0`. Floating point alone, where KVM has no more to give.
//! 5. Model-specific registers of the new state. One that depends on the mode comes after it.
//! 6. The local APIC, after its base. This stops its timer, also the one of a deadline.
//! 7. Debug registers, or a breakpoint of the operating system before would stop the next one.
//! 8. The run state, which wakes a CPU that had halted or waits to be started.
//! 9. Pending events: the calls before may queue some. An interrupt that was about to be delivered would find no table of
//!    handlers, which is a triple fault; and one INIT that another CPU had sent would stop this one for ever.
//!
//! Nested virtualization has no place in it, because guests are not shown VMX and SVM (see `cpuid`). KVM refuses special
//! registers without `CR4.VMXE` to a vCPU in VMX operation, and would take those of an L1 guest for the L2 guest that
//! runs. Whoever shows them has to set the nested state before 3 to leave that operation (flags 0 for VMX,
//! `KVM_STATE_NESTED_GIF_SET` for SVM), and to set a saved one right after 3, which it depends on.

use kvm_bindings::{
    KVM_MP_STATE_RUNNABLE, KVM_MP_STATE_UNINITIALIZED, Xsave, kvm_debugregs, kvm_fpu, kvm_lapic_state, kvm_msr_entry,
    kvm_regs, kvm_segment, kvm_sregs, kvm_vcpu_events, kvm_xcrs,
};
use vm_memory::{Bytes, GuestAddress};

use super::layout;
use crate::kvm::Vcpu;
use crate::memory::GuestRam;
use crate::{Error, ErrorKind, Result};

const MSR_IA32_TSC: u32 = 0x10;
const MSR_IA32_APIC_BASE: u32 = 0x1B;
const MSR_IA32_TSC_ADJUST: u32 = 0x3B;
const MSR_IA32_MISC_ENABLE: u32 = 0x1A0;
const MSR_MTRR_DEFAULT_TYPE: u32 = 0x2FF;
const FAST_STRINGS: u64 = 1;
const MTRR_ENABLE_WRITE_BACK: u64 = (1 << 11) | 6;

const CR0_PE: u64 = 1;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
const RFLAGS_RESERVED: u64 = 1 << 1;

const PAGE_PRESENT_WRITABLE: u64 = 3;
const PAGE_LARGE: u64 = 1 << 7;
const LARGE_PAGE: u64 = 2 << 20;
const TABLE_ENTRIES: u64 = 512;

/// How the boot processor enters the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Linux's 64-bit boot protocol: long mode, RSI points to the zero page.
    Linux64 { address: u64 },
    /// PVH: 32-bit protected mode without paging, EBX points to the start information.
    Pvh { address: u64 },
}

/// Model-specific registers that a reset leaves alone: time goes on, and the base of the local APIC, which differs
/// between CPUs, is one of the special registers.
const KEPT_AT_RESET: [u32; 3] = [MSR_IA32_TSC, MSR_IA32_TSC_ADJUST, MSR_IA32_APIC_BASE];

/// Takes back what an operating system wrote to model-specific registers. `fresh` are those of a vCPU that never ran.
///
/// Among them are addresses to which KVM writes the time and more: left alone, they would point into the memory of the
/// operating system that comes next.
pub(crate) fn reset_msrs(vcpu: &Vcpu, fresh: &[kvm_msr_entry]) -> Result<()> {
    let kept = |entry: &&kvm_msr_entry| !KEPT_AT_RESET.contains(&entry.index);
    for entry in fresh.iter().filter(kept) {
        match vcpu.set_msrs(std::slice::from_ref(entry)) {
            // Some can be read but not written, and those did not change.
            Err(error) if error.kind() == ErrorKind::HostUnsupported => {}
            result => result?,
        }
    }
    Ok(())
}

/// The state of a CPU that waits to be started: all but its CPUID, which KVM takes only once. In the order that this file
/// begins with.
pub(crate) fn power_on(vcpu: &Vcpu, pristine: &Pristine) -> Result<()> {
    vcpu.set_sregs(&pristine.sregs)?;
    vcpu.set_regs(&pristine.regs)?;
    match &pristine.xsave {
        Some(xsave) => vcpu.set_xsave(xsave)?,
        None => vcpu.set_fpu(&kvm_fpu { fcw: 0x37F, mxcsr: 0x1F80, ..Default::default() })?,
    }
    vcpu.set_xcrs(&pristine.xcrs)?;
    vcpu.set_msrs(&[msr(MSR_IA32_MISC_ENABLE, FAST_STRINGS), msr(MSR_MTRR_DEFAULT_TYPE, MTRR_ENABLE_WRITE_BACK)])?;
    vcpu.set_lapic(&pristine.lapic)?;
    vcpu.set_debug_registers(&pristine.debug)?;
    let state = if vcpu.id() == 0 { KVM_MP_STATE_RUNNABLE } else { KVM_MP_STATE_UNINITIALIZED };
    vcpu.set_mp_state(state)?;
    vcpu.set_events(&pristine.events)
}

fn msr(index: u32, data: u64) -> kvm_msr_entry {
    kvm_msr_entry { index, data, ..Default::default() }
}

/// What KVM gives a new vCPU, kept so that a reset can go back to it.
#[derive(Clone, Debug)]
pub(crate) struct Pristine {
    sregs: kvm_sregs,
    regs: kvm_regs,
    xsave: Option<Xsave>,
    xcrs: kvm_xcrs,
    lapic: kvm_lapic_state,
    debug: kvm_debugregs,
    events: kvm_vcpu_events,
}

impl Pristine {
    /// Reads the state of a vCPU that has never run.
    pub(crate) fn of(vcpu: &Vcpu) -> Result<Self> {
        let mut lapic = vcpu.lapic()?;
        connect_local_interrupts(&mut lapic);
        Ok(Self {
            sregs: vcpu.sregs()?,
            regs: vcpu.regs()?,
            xsave: vcpu.xsave()?,
            xcrs: vcpu.xcrs()?,
            lapic,
            debug: vcpu.debug_registers()?,
            events: vcpu.events()?,
        })
    }
}

/// Wires the legacy interrupt controller to LINT0 and NMI to LINT1, as PC firmware does.
fn connect_local_interrupts(lapic: &mut kvm_lapic_state) {
    const LVT_LINT0: usize = 0x350;
    const LVT_LINT1: usize = 0x360;
    const DELIVERY_NMI: u32 = 4 << 8;
    const DELIVERY_EXTINT: u32 = 7 << 8;
    for (offset, mode) in [(LVT_LINT0, DELIVERY_EXTINT), (LVT_LINT1, DELIVERY_NMI)] {
        for (register, byte) in lapic.regs.iter_mut().skip(offset).zip(mode.to_le_bytes()) {
            *register = byte as _;
        }
    }
}

/// Points the boot processor at the kernel, and writes the tables it needs there.
pub(crate) fn enter(vcpu: &Vcpu, ram: &GuestRam, entry: Entry) -> Result<()> {
    let mut sregs = vcpu.sregs()?;
    let long = matches!(entry, Entry::Linux64 { .. });
    write_gdt(ram, long)?;
    let code = segment(1, 0xB, !long, long);
    let data = segment(2, 0x3, true, false);
    sregs.cs = code;
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    sregs.tr = task_segment();
    (sregs.gdt.base, sregs.gdt.limit) = (layout::GDT, 31);
    (sregs.idt.base, sregs.idt.limit) = (layout::IDT, 7);
    sregs.cr0 = CR0_PE | CR0_ET;
    sregs.cr4 = 0;
    let mut regs = kvm_regs { rflags: RFLAGS_RESERVED, ..Default::default() };
    match entry {
        Entry::Linux64 { address } => {
            write_page_tables(ram)?;
            sregs.cr3 = layout::PAGE_TABLES;
            sregs.cr4 |= CR4_PAE;
            sregs.cr0 |= CR0_PG;
            sregs.efer |= EFER_LME | EFER_LMA;
            (regs.rip, regs.rsi) = (address, layout::ZERO_PAGE);
        }
        Entry::Pvh { address } => (regs.rip, regs.rbx) = (address, layout::PVH_START_INFO),
    }
    vcpu.set_sregs(&sregs)?;
    vcpu.set_regs(&regs)
}

/// A flat segment; `kind` is its type field.
fn segment(index: u16, kind: u8, default_32: bool, long: bool) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: 0xFFFF_FFFF,
        selector: index * 8,
        type_: kind,
        present: 1,
        dpl: 0,
        db: u8::from(default_32),
        s: 1,
        l: u8::from(long),
        g: 1,
        ..Default::default()
    }
}

fn task_segment() -> kvm_segment {
    kvm_segment { limit: 0x67, selector: 3 * 8, type_: 0xB, present: 1, ..Default::default() }
}

/// The descriptors that match the segment registers: null, code, data, task state.
fn write_gdt(ram: &GuestRam, long: bool) -> Result<()> {
    let code: u64 = if long { 0x00AF_9B00_0000_FFFF } else { 0x00CF_9B00_0000_FFFF };
    let table: [u64; 4] = [0, code, 0x00CF_9300_0000_FFFF, 0x0000_8B00_0000_0067];
    for (address, entry) in (layout::GDT..).step_by(8).zip(table) {
        write(ram, address, entry)?;
    }
    write(ram, layout::IDT, 0)
}

/// Maps the first GiB one to one with 2 MiB pages; Linux's own start-up code maps what it needs beyond.
fn write_page_tables(ram: &GuestRam) -> Result<()> {
    let (pml4, pdpt, pd) = (layout::PAGE_TABLES, layout::PAGE_TABLES + 0x1000, layout::PAGE_TABLES + 0x2000);
    write(ram, pml4, pdpt | PAGE_PRESENT_WRITABLE)?;
    write(ram, pdpt, pd | PAGE_PRESENT_WRITABLE)?;
    let entries: Vec<u8> = (0..TABLE_ENTRIES)
        .flat_map(|i| ((i * LARGE_PAGE) | PAGE_PRESENT_WRITABLE | PAGE_LARGE).to_le_bytes())
        .collect();
    ram.write_slice(&entries, GuestAddress(pd)).map_err(too_small)
}

fn write(ram: &GuestRam, address: u64, value: u64) -> Result<()> {
    ram.write_obj(value, GuestAddress(address)).map_err(too_small)
}

fn too_small(error: vm_memory::GuestMemoryError) -> Error {
    Error::new(ErrorKind::InvalidConfig, "the boot tables do not fit the guest's memory")
        .because(error)
        .with_remedy("give the VM at least 2 MiB of memory")
}

#[cfg(test)]
mod tests {
    use kvm_bindings::{KVM_VCPUEVENT_VALID_NMI_PENDING, KVM_VCPUEVENT_VALID_SMM};

    use super::*;
    use crate::config::{ByteSize, MemoryBacking};
    use crate::kvm::System;
    use crate::memory::allocate;

    /// Where the parts of the extended state are, in words of four bytes (Intel SDM volume 1, section 13.4): the mask of
    /// the parts that are not as at power-on, and the upper half of register YMM0.
    const PARTS: usize = 512 / 4;
    const YMM0: usize = 576 / 4;
    const X87_SSE: u32 = 3;
    const AVX: u32 = 4;

    fn vcpu() -> Option<Vcpu> {
        let system = match System::open(None) {
            Ok(system) => system,
            Err(error) => {
                println!("SKIPPED {}: {error}", std::thread::current().name().unwrap_or("?"));
                return None;
            }
        };
        let vm = system.create_vm(&allocate(ByteSize::mib(2), &MemoryBacking::default()).unwrap()).unwrap();
        let vcpu = vm.create_vcpu(0).unwrap();
        vcpu.set_cpuid(&system.supported_cpuid().unwrap()).unwrap();
        Some(vcpu)
    }

    #[test]
    fn power_on_forgets_an_interrupt_that_is_about_to_be_delivered() {
        let Some(vcpu) = vcpu() else { return };
        let pristine = Pristine::of(&vcpu).unwrap();
        let mut events = vcpu.events().unwrap();
        (events.interrupt.injected, events.interrupt.nr) = (1, 0x30);
        vcpu.set_events(&events).unwrap();
        assert_eq!(vcpu.events().unwrap().interrupt.injected, 1);
        power_on(&vcpu, &pristine).unwrap();
        assert_eq!(vcpu.events().unwrap().interrupt.injected, 0);
    }

    #[test]
    fn power_on_forgets_exceptions_and_what_other_cpus_have_sent() {
        let Some(vcpu) = vcpu() else { return };
        let pristine = Pristine::of(&vcpu).unwrap();
        let mut events = vcpu.events().unwrap();
        events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SMM;
        (events.exception.injected, events.exception.nr, events.exception.has_error_code) = (1, 13, 1);
        (events.nmi.pending, events.nmi.masked) = (1, 1);
        // Another CPU has sent INIT.
        events.smi.latched_init = 1;
        vcpu.set_events(&events).unwrap();
        let set = vcpu.events().unwrap();
        assert_eq!((set.exception.injected, set.nmi.pending, set.nmi.masked, set.smi.latched_init), (1, 1, 1, 1));
        power_on(&vcpu, &pristine).unwrap();
        assert_eq!(vcpu.events().unwrap(), pristine.events);
    }

    #[test]
    fn power_on_takes_breakpoints_away() {
        let Some(vcpu) = vcpu() else { return };
        let pristine = Pristine::of(&vcpu).unwrap();
        let breakpoint = kvm_debugregs { db: [0x1000, 0, 0, 0], dr7: 0x402, ..pristine.debug };
        vcpu.set_debug_registers(&breakpoint).unwrap();
        assert_eq!(vcpu.debug_registers().unwrap().dr7, 0x402);
        power_on(&vcpu, &pristine).unwrap();
        assert_eq!(vcpu.debug_registers().unwrap(), pristine.debug);
    }

    #[test]
    fn power_on_clears_the_extended_state() {
        let Some(vcpu) = vcpu() else { return };
        let pristine = Pristine::of(&vcpu).unwrap();
        let skipped = |why| println!("SKIPPED power_on_clears_the_extended_state: {why}");
        let Some(mut xsave) = vcpu.xsave().unwrap() else { return skipped("KVM does not tell how long it is") };
        // SAFETY: the length of what comes after the old structure is not changed.
        let region = unsafe { &mut xsave.as_mut_fam_struct().xsave.region };
        region[YMM0] = 0xdead_beef;
        region[PARTS] |= AVX;
        if vcpu.set_xsave(&xsave).is_err() {
            return skipped("guests have no AVX here");
        }
        let ymm0 = |vcpu: &Vcpu| vcpu.xsave().unwrap().unwrap().as_fam_struct_ref().xsave.region[YMM0];
        assert_eq!(ymm0(&vcpu), 0xdead_beef);
        power_on(&vcpu, &pristine).unwrap();
        assert_eq!(ymm0(&vcpu), 0);
    }

    #[test]
    fn power_on_takes_back_which_extended_state_there_is() {
        let Some(vcpu) = vcpu() else { return };
        let pristine = Pristine::of(&vcpu).unwrap();
        let mut xcrs = pristine.xcrs;
        xcrs.xcrs[0].value = X87_SSE.into();
        if xcrs.nr_xcrs == 0 || vcpu.set_xcrs(&xcrs).is_err() {
            println!("SKIPPED power_on_takes_back_which_extended_state_there_is: guests have no XSAVE here");
            return;
        }
        power_on(&vcpu, &pristine).unwrap();
        assert_eq!(vcpu.xcrs().unwrap().xcrs[0].value, 1);
    }
}
