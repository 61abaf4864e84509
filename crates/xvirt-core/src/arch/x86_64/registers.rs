//! A CPU's registers at power-on, and for each boot protocol.
//!
//! # The order of setting a vCPU's state
//!
//! Code that sets the complete state of a vCPU must follow this order, which the reset of a vCPU that has run uses. The
//! reasons are the effects of the individual KVM calls (Linux `Documentation/virt/kvm/api.rst` and `arch/x86/kvm`);
//! QEMU's `kvm_arch_put_registers` uses almost the same order.
//!
//! 1. CPUID, once, before the vCPU first runs: it determines the reserved bits of the other registers.
//! 2. Model-specific registers that a guest wrote ([`reset_msrs`]), before anything else has changed.
//! 3. Special registers: the CPU mode (`EFER`, `CR0`, `CR4`), on which the meaning of other registers depends, and the
//!    base of the local APIC, whose mode (xAPIC or x2APIC) determines the format of its state.
//! 4. General registers, then the extended state and `XCR0`, or only the floating point state if KVM does not support
//!    more.
//! 5. Model-specific registers of the new state. One that depends on the mode comes after it.
//! 6. The local APIC, after its base. This stops its timer, including the deadline timer.
//! 7. Debug registers; a stale breakpoint would stop the next operating system.
//! 8. The run state, which wakes a CPU that has halted or waits for SIPI.
//! 9. Pending events, because earlier calls may queue some. A pending interrupt would find no handler table, which is a
//!    triple fault; and a pending INIT from another CPU would stop this one permanently.
//!
//! Nested virtualization is not included, because VMX and SVM are hidden from guests (see `cpuid`). KVM rejects special
//! registers without `CR4.VMXE` for a vCPU in VMX operation, and would apply those of an L1 guest to a running L2
//! guest. If nested virtualization is added, the nested state must be set before step 3 to leave that operation (flags
//! 0 for VMX, `KVM_STATE_NESTED_GIF_SET` for SVM), and a saved nested state right after step 3, on which it depends.

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

/// How the boot CPU enters the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Linux's 64-bit boot protocol: long mode, RSI points to the zero page.
    Linux64 { address: u64 },
    /// PVH: 32-bit protected mode without paging, EBX points to the start information.
    Pvh { address: u64 },
}

/// Model-specific registers that a reset keeps: the time continues, and the local APIC base, which differs between
/// CPUs, is one of the special registers.
const KEPT_AT_RESET: [u32; 3] = [MSR_IA32_TSC, MSR_IA32_TSC_ADJUST, MSR_IA32_APIC_BASE];

/// Resets the model-specific registers that a guest has written. `fresh` are those of a vCPU that never ran.
///
/// Some contain addresses to which KVM writes the time and other data; unchanged, they would point into the memory of
/// the next operating system.
pub(crate) fn reset_msrs(vcpu: &Vcpu, fresh: &[kvm_msr_entry]) -> Result<()> {
    let kept = |entry: &&kvm_msr_entry| !KEPT_AT_RESET.contains(&entry.index);
    for entry in fresh.iter().filter(kept) {
        match vcpu.set_msrs(std::slice::from_ref(entry)) {
            // Registers that KVM can read but not write have not changed.
            Err(error) if error.kind() == ErrorKind::HostUnsupported => {}
            result => result?,
        }
    }
    Ok(())
}

/// Resets a CPU to its state before SIPI, except its CPUID, which KVM accepts only once. Follows the order in the
/// module documentation.
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

/// The state of a new vCPU, kept for resets.
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

/// Connects the legacy interrupt controller to LINT0 and NMI to LINT1, as PC firmware does.
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

/// Starts the boot CPU at the kernel's entry point, and writes the tables it needs.
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

/// The descriptors of the segment registers: null, code, data, task state.
fn write_gdt(ram: &GuestRam, long: bool) -> Result<()> {
    let code: u64 = if long { 0x00AF_9B00_0000_FFFF } else { 0x00CF_9B00_0000_FFFF };
    let table: [u64; 4] = [0, code, 0x00CF_9300_0000_FFFF, 0x0000_8B00_0000_0067];
    for (address, entry) in (layout::GDT..).step_by(8).zip(table) {
        write(ram, address, entry)?;
    }
    write(ram, layout::IDT, 0)
}

/// Identity-maps the first GiB with 2 MiB pages; Linux's startup code maps more by itself.
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

    /// Offsets in the extended state, in words of four bytes (Intel SDM volume 1, section 13.4): the mask of components
    /// that are not in their initial state, and the upper half of register YMM0.
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
        // SAFETY: the length of the flexible array is not changed.
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
