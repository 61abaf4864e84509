//! One vCPU: its registers, and running it.

use kvm_bindings::{
    CpuId, Msrs, kvm_fpu, kvm_lapic_state, kvm_mp_state, kvm_msr_entry, kvm_regs, kvm_sregs, kvm_vcpu_events,
};
use kvm_ioctls::{VcpuExit, VcpuFd};

use super::{KickSignal, Kicker, kvm_error};
use crate::{Error, ErrorKind, Result};

/// A vCPU. Once it runs, it belongs to one thread.
#[derive(Debug)]
pub(crate) struct Vcpu {
    id: u32,
    fd: VcpuFd,
}

impl Vcpu {
    pub(super) fn new(id: u32, fd: VcpuFd) -> Self {
        Self { id, fd }
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
