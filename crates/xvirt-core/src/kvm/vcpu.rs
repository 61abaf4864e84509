//! One vCPU: its registers, and running it.

use kvm_bindings::{
    CpuId, Msrs, Xsave, kvm_debugregs, kvm_fpu, kvm_lapic_state, kvm_mp_state, kvm_msr_entry, kvm_regs, kvm_sregs,
    kvm_vcpu_events, kvm_xcrs,
};
use kvm_ioctls::{VcpuExit, VcpuFd};

use super::{KickSignal, Kicker, kvm_error};
use crate::{Error, ErrorKind, Result};

/// A vCPU. Once it runs, it belongs to one thread.
#[derive(Debug)]
pub(crate) struct Vcpu {
    id: u32,
    fd: VcpuFd,
    /// How long the state is that the instruction XSAVE stores, in elements of [`Xsave`]; none where this host's KVM is
    /// older than Linux 5.17 and does not tell.
    xsave_length: Option<usize>,
}

impl Vcpu {
    pub(super) fn new(id: u32, fd: VcpuFd, xsave_length: Option<usize>) -> Self {
        Self { id, fd, xsave_length }
    }

    /// The number of this vCPU, which is its APIC id.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// A kicker for this vCPU, which `thread` runs.
    pub(crate) fn kicker(&mut self, signal: KickSignal, thread: libc::pthread_t) -> Kicker {
        Kicker::new(signal, thread, &raw mut self.fd.get_kvm_run().immediate_exit)
    }

    /// Runs guest code until something has to be done for it.
    pub(crate) fn run(&mut self) -> std::result::Result<VcpuExit<'_>, kvm_ioctls::Error> {
        self.fd.run()
    }

    /// Forgets a kick, once its reason has been looked at.
    pub(crate) fn clear_kick(&mut self) {
        self.fd.set_kvm_immediate_exit(0);
    }

    pub(crate) fn set_cpuid(&self, cpuid: &CpuId) -> Result<()> {
        self.fd.set_cpuid2(cpuid).map_err(|e| self.error("take its CPUID", e))
    }

    pub(crate) fn set_regs(&self, regs: &kvm_regs) -> Result<()> {
        self.fd.set_regs(regs).map_err(|e| self.error("take its registers", e))
    }

    pub(crate) fn regs(&self) -> Result<kvm_regs> {
        self.fd.get_regs().map_err(|e| self.error("give its registers", e))
    }

    pub(crate) fn sregs(&self) -> Result<kvm_sregs> {
        self.fd.get_sregs().map_err(|e| self.error("give its special registers", e))
    }

    pub(crate) fn set_sregs(&self, sregs: &kvm_sregs) -> Result<()> {
        self.fd.set_sregs(sregs).map_err(|e| self.error("take its special registers", e))
    }

    pub(crate) fn set_fpu(&self, fpu: &kvm_fpu) -> Result<()> {
        self.fd.set_fpu(fpu).map_err(|e| self.error("take its floating point state", e))
    }

    /// All that is floating point, vectors and the like, if KVM can give it.
    pub(crate) fn xsave(&self) -> Result<Option<Xsave>> {
        let Some(length) = self.xsave_length else { return Ok(None) };
        let mut xsave = Xsave::new(length).map_err(|_| self.too_long_xsave())?;
        // SAFETY: it is as long as KVM says that the state of a vCPU of this VM is at most.
        unsafe { self.fd.get_xsave2(&mut xsave) }.map_err(|e| self.error("give its extended state", e))?;
        Ok(Some(xsave))
    }

    /// Sets what [`xsave`](Self::xsave) gave, of any vCPU of this VM.
    pub(crate) fn set_xsave(&self, xsave: &Xsave) -> Result<()> {
        if Some(xsave.as_slice().len()) != self.xsave_length {
            return Err(self.too_long_xsave());
        }
        // SAFETY: it is as long as KVM says that the state of a vCPU of this VM is at most.
        unsafe { self.fd.set_xsave2(xsave) }.map_err(|e| self.error("take its extended state", e))
    }

    fn too_long_xsave(&self) -> Error {
        Error::new(ErrorKind::HostUnsupported, format!("vCPU {} has an extended state of another length", self.id))
    }

    /// The control registers of the extended state; none where the host has no XSAVE.
    pub(crate) fn xcrs(&self) -> Result<kvm_xcrs> {
        self.fd.get_xcrs().map_err(|e| self.error("give its extended control registers", e))
    }

    pub(crate) fn set_xcrs(&self, xcrs: &kvm_xcrs) -> Result<()> {
        if xcrs.nr_xcrs == 0 {
            return Ok(());
        }
        self.fd.set_xcrs(xcrs).map_err(|e| self.error("take its extended control registers", e))
    }

    pub(crate) fn debug_registers(&self) -> Result<kvm_debugregs> {
        self.fd.get_debug_regs().map_err(|e| self.error("give its debug registers", e))
    }

    pub(crate) fn set_debug_registers(&self, registers: &kvm_debugregs) -> Result<()> {
        self.fd.set_debug_regs(registers).map_err(|e| self.error("take its debug registers", e))
    }

    pub(crate) fn lapic(&self) -> Result<kvm_lapic_state> {
        self.fd.get_lapic().map_err(|e| self.error("give its local APIC", e))
    }

    pub(crate) fn set_lapic(&self, lapic: &kvm_lapic_state) -> Result<()> {
        self.fd.set_lapic(lapic).map_err(|e| self.error("take its local APIC", e))
    }

    /// Exceptions and interrupts that are about to be delivered.
    pub(crate) fn events(&self) -> Result<kvm_vcpu_events> {
        self.fd.get_vcpu_events().map_err(|e| self.error("give its pending events", e))
    }

    pub(crate) fn set_events(&self, events: &kvm_vcpu_events) -> Result<()> {
        self.fd.set_vcpu_events(events).map_err(|e| self.error("take its pending events", e))
    }

    pub(crate) fn set_mp_state(&self, state: u32) -> Result<()> {
        self.fd.set_mp_state(kvm_mp_state { mp_state: state }).map_err(|e| self.error("take its run state", e))
    }

    pub(crate) fn set_msrs(&self, entries: &[kvm_msr_entry]) -> Result<()> {
        let msrs = Msrs::from_entries(entries).map_err(|_| self.too_many_msrs())?;
        let written = self.fd.set_msrs(&msrs).map_err(|e| self.error("take its model-specific registers", e))?;
        match entries.get(written) {
            None => Ok(()),
            Some(entry) => Err(Error::new(
                ErrorKind::HostUnsupported,
                format!("vCPU {} refuses model-specific register {:#x}", self.id, entry.index),
            )),
        }
    }

    /// Those of the registers that this vCPU has.
    pub(crate) fn msrs(&self, indices: &[u32]) -> Result<Vec<kvm_msr_entry>> {
        let wanted: Vec<_> = indices.iter().map(|&index| kvm_msr_entry { index, ..Default::default() }).collect();
        let mut found = Vec::new();
        let mut rest = &wanted[..];
        while !rest.is_empty() {
            let mut msrs = Msrs::from_entries(rest).map_err(|_| self.too_many_msrs())?;
            let read = self.fd.get_msrs(&mut msrs).map_err(|e| self.error("give its model-specific registers", e))?;
            found.extend(msrs.as_slice().iter().take(read));
            // KVM stops at the first one that this vCPU does not have.
            rest = rest.get(read + 1..).unwrap_or_default();
        }
        Ok(found)
    }

    fn too_many_msrs(&self) -> Error {
        Error::new(
            ErrorKind::HostUnsupported,
            format!("vCPU {} has more model-specific registers than KVM can carry", self.id),
        )
    }

    fn error(&self, doing: &str, error: kvm_ioctls::Error) -> Error {
        kvm_error(format!("vCPU {} cannot {doing}", self.id), error)
    }
}
